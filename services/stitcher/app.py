"""The stitcher put together: follows the log, closes what time closes, publishes what changed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from starlette.applications import Starlette

from services.stitcher import registry
from services.stitcher.clock import Clock
from services.stitcher.errors import Stuck
from services.stitcher.gauges import Gauges
from services.stitcher.journey.rules import Plan
from services.stitcher.letters import Letters
from services.stitcher.loop import Loop, Pace
from services.stitcher.outbox import Outbox
from services.stitcher.settings import StitcherSettings
from services.stitcher.singleton import Singleton
from services.stitcher.store import Store, open_pool
from services.stitcher.tasks import Rejections, Stitching
from services.stitcher.telemetry import Telemetry
from shared.eventlog.open import open_admin, open_appender, open_reader
from shared.eventlog.port import Appender, LogUnavailable
from shared.health import Check, health_routes
from shared.identifiers import IdentityRules, load_identity
from shared.journey_map import load_maps
from shared.logs import configure
from shared.migrations import migrate
from shared.touchpoint import CHANGES, REJECTED, TOUCHPOINTS

log = structlog.get_logger(__name__)

GROUP: Final = "throughline-stitcher"
TOPICS: Final = (TOUCHPOINTS, REJECTED, CHANGES)
AGAIN_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 25.0
WATCH_SECONDS: Final = 1.0


async def serve(settings: StitcherSettings) -> None:
    """Stitches until SIGTERM or SIGINT, then drains; ValueError in a sentence if it is misconfigured, Stuck if it gets
    nowhere."""
    configure(settings.log_level, settings.log_format)
    maps, rules = load_maps(settings.throughline_config), load_identity(settings.throughline_config)
    assert settings.database_url is not None
    await migrate(settings.database_url)
    partitions = await ensure_topics(settings)
    plans = await registry.register(settings.database_url, maps, rules, Lines())
    async with assembled(settings, plans, rules) as stitcher:
        await stitcher.store.prepare(partitions)
        await stitcher.run()


async def ensure_topics(settings: StitcherSettings) -> dict[str, int]:
    """Creates the topics that are missing, once the log can be reached; answers the partitions of those we read."""
    admin, until = open_admin(settings), time.monotonic() + settings.stitcher_stuck_seconds
    while True:
        try:
            await admin.ensure(dict.fromkeys(TOPICS, settings.kafka_partitions))
            return {topic: await admin.partitions(topic) for topic in (TOUCHPOINTS, REJECTED)}
        except LogUnavailable as error:
            if time.monotonic() > until:
                raise Stuck(f"the log cannot be reached: {error}") from error
            log.warning("waiting for the log", reason=str(error))
            await asyncio.sleep(AGAIN_SECONDS)


@contextlib.asynccontextmanager
async def assembled(settings: StitcherSettings, plans: Sequence[Plan], rules: IdentityRules) -> AsyncIterator[Stitcher]:
    """A stitcher with its connections open."""
    pool = await open_pool(
        settings.database_url or "",
        statement_seconds=settings.stitcher_statement_seconds,
        idle_seconds=settings.stitcher_pause_seconds,
    )
    appender = open_appender(settings)
    try:
        await appender.start()
        yield Stitcher(settings, Store(pool, [plan.map_id for plan in plans]), appender, plans, rules)
    finally:
        await appender.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), 5)
        pool.terminate()


class Stitcher:
    """Everything that runs in the process, and how it ends."""

    def __init__(
        self, settings: StitcherSettings, store: Store, appender: Appender, plans: Sequence[Plan], rules: IdentityRules
    ) -> None:
        self._settings, self.store, self._plans = settings, store, plans
        self.telemetry = Telemetry()
        self.telemetry.watch_pool(store.pool)
        self._outbox = Singleton(store.pool, Outbox(store.pool, appender, self.telemetry))
        clock = Clock(
            store, plans, self.telemetry, batch=settings.stitcher_clock_batch, log_hours=settings.stitcher_log_hours,
            letters=Letters(store.pool, self.telemetry, settings.stitcher_letter_days, settings.stitcher_letter_bytes),
        )  # fmt: skip
        self._singletons = [self._outbox, Singleton(store.pool, clock)]
        self._gauges = Gauges(store.pool, plans, self.telemetry)
        stitching = Stitching(plans, rules, self.telemetry, now, self._outbox.wake)
        self.loops = [self._loop(TOUCHPOINTS, stitching), self._loop(REJECTED, Rejections(self.telemetry))]
        self._stopping = asyncio.Event()

    def _loop(self, topic: str, task: Any) -> Loop:
        settings = self._settings
        member = f"{socket.gethostname()}-{os.getpid()}"
        return Loop(
            topic,
            self.store,
            task,
            open_reader=lambda: open_reader(settings, topic, f"{GROUP}.{topic}", member),
            owner=member,
            pace=Pace(
                settings.stitcher_batch,
                settings.stitcher_linger_seconds,
                settings.stitcher_dead_letters_in_a_row,
                settings.stitcher_retries,
            ),
            telemetry=self.telemetry,
            now=now,
            rejoining=partial(registry.still_live, self.store.pool, self._plans),
        )

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Until told to stop by a signal; raises what made a part fail."""
        spare_garbage()
        server = self._server()
        parts = [
            Part("http", server.serve(), partial(setattr, server, "should_exit", True)),
            *(Part(f"loop {loop.topic}", loop.run(), loop.stop) for loop in self.loops),
            *(Part("singleton", one.run(), one.stop) for one in self._singletons),
            Part("gauges", self._gauges.run(), self._gauges.stop),
            Part("watch", self._watch(), self.stop),
        ]
        with signals(self.stop):
            await run_together(parts, self._stopping)

    async def _watch(self) -> None:
        """Gives up when a loop has something to do and gets nowhere."""
        while not self._stopping.is_set():
            for loop in self.loops:
                if loop.progress.age > self._settings.stitcher_stuck_seconds:
                    raise Stuck(
                        f"topic {loop.topic}: no progress for {loop.progress.age:.0f} s: "
                        f"{loop.trouble or 'nothing arrives although the log goes on'}"
                    )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), WATCH_SECONDS)

    def _server(self) -> uvicorn.Server:
        app = Starlette(routes=health_routes(self._checks(), self.telemetry.registry))
        config = uvicorn.Config(
            app, host=self._settings.throughline_host, port=self._settings.stitcher_port, http="httptools",
            lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5,
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        return server

    def _checks(self) -> dict[str, Check]:
        async def database() -> str | None:
            await self.store.pool.fetchval("select 1")
            return None

        async def progress() -> str | None:
            return next((loop.trouble for loop in self.loops if loop.trouble is not None), None)

        async def clock() -> str | None:
            return next((one.trouble for one in self._singletons if one.trouble is not None), None)

        return {"database": database, "log": progress, "clock": clock}


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs until it is told to stop."""

    name: str
    running: Coroutine[Any, Any, None]
    stop: Callable[[], Any]


async def run_together(parts: Sequence[Part], stopping: asyncio.Event) -> None:
    """Runs all until one ends or `stopping` is set; then stops all, in bounded time. Raises the first failure."""
    tasks = {asyncio.create_task(part.running, name=part.name): part for part in parts}
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
    failures = [error for task in tasks if task.done() and (error := task.exception()) is not None]
    for error in failures:
        log.error("a part failed", reason=f"{type(error).__name__}: {error}")
    stopping.set()
    for part in parts:
        part.stop()
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    for task in (*late, told):
        task.cancel()
    await asyncio.gather(*tasks, told, return_exceptions=True)
    if failures:
        raise failures[0]


@contextlib.contextmanager
def signals(stop: Callable[[], None]) -> Any:
    """SIGTERM and SIGINT call `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def spare_garbage() -> None:
    """Batches make many objects and few cycles: looking for these after each few hundred costs a fifth of the time, and
    still a twentieth where a large batch is gone through several times over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(3_000_000, 20, 100)


def now() -> int:
    """The present instant in microseconds."""
    return time.time_ns() // 1000


class Lines:
    """Tells the log how a rebuild is getting on."""

    def __init__(self) -> None:
        self._told = 0.0

    def progress(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told > 5 or done == total:
            self._told = time.monotonic()
            log.info(what, done=done, total=total)

    def problem(self, text: str) -> None:
        log.error(text)
