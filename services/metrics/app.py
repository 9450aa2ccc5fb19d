"""The metrics service put together: answers questions about journeys."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import structlog
import uvicorn
from fastapi import FastAPI

from services.metrics.api import (
    conversion,
    deadletters,
    drop_off,
    funnel,
    journeys,
    maps,
    now,
    profiles,
    status,
    stream,
    transitions,
)
from services.metrics.api.access import Access
from services.metrics.api.problems import PROBLEMS, handle_problems
from services.metrics.api.room import Room
from services.metrics.live import Live
from services.metrics.paths import EncodedSegments
from services.metrics.reader.catalogue import Catalogues
from services.metrics.reader.database import Database, connect
from services.metrics.reader.freshness import as_of
from services.metrics.settings import MetricsSettings
from services.metrics.telemetry import Telemetry, Timed
from services.metrics.web.page import page_routes
from shared.health import Check, health_routes
from shared.identifiers import load_identity
from shared.keys import Reader, has_demo_key, load_readers, load_sources
from shared.logs import configure
from shared.migrations import migrate
from shared.reloading import ReloadGauges, Reloading
from shared.touchpoint import EPOCH, SECOND, moment

STREAM_SECONDS = 1.0
DRAIN_SECONDS = 20
FAMILIES = (maps, funnel, conversion, drop_off, transitions, now, journeys, profiles, stream, status, deadletters)
_log = structlog.get_logger(__name__)


async def serve(settings: MetricsSettings) -> None:
    """Answers until SIGTERM or SIGINT, then drains; ValueError in a sentence if it is misconfigured."""
    configure(settings.log_level, settings.log_format)
    readers = read_readers(settings)
    url = settings.database_url
    if url is None:
        raise ValueError("DATABASE_URL is not set; `throughline metrics` finds the embedded PostgreSQL by itself")
    await migrate(url)
    database = await connect(url, settings.metrics_connections, settings.metrics_statement_seconds)
    live = Live(STREAM_SECONDS)
    app = build(settings, readers, database, live)
    reloading = Reloading(
        settings.throughline_config,
        lambda: read_readers(settings),
        lambda fresh: admit(app, fresh),
        ReloadGauges(app.state.telemetry.registry),
    )
    watching = asyncio.create_task(reloading.run(settings.throughline_reload_seconds))
    try:
        await _run(app, settings, live, reloading.wake)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await live.stop()
        await database.close()


def read_readers(settings: MetricsSettings) -> list[Reader]:
    """Who may ask, as `readers.yaml` says now; ValueError in a sentence if that cannot be."""
    readers = load_readers(settings.throughline_config)
    refuse_demo_keys(settings, readers)
    return readers


def admit(app: FastAPI, readers: list[Reader]) -> None:
    """From the next request on these may ask, and nobody else."""
    app.state.room = replace(app.state.room, access=Access(readers, now_utc))


def now_utc() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


def build(settings: MetricsSettings, readers: list[Reader], database: Database, live: Live) -> FastAPI:
    """The app over a database that is there."""
    sources = [source.name for source in load_sources(settings.throughline_config)]
    telemetry = Telemetry()
    telemetry.watch(lambda: database.in_use, lambda: database.size, lambda: live.listeners)
    app = FastAPI(
        title="Throughline metrics",
        version="1",
        description="Live customer journeys: how many are where, who converts, where do they leave.",
        responses=PROBLEMS,
    )
    app.state.telemetry = telemetry
    app.state.room = Room(
        database=database,
        catalogues=Catalogues(database, sources, time.monotonic),
        access=Access(readers, now_utc),
        rules=load_identity(settings.throughline_config),
        live=live,
        clock=clock,
    )
    for family in FAMILIES:
        app.include_router(family.router)
    app.router.routes.extend(health_routes(_checks(settings, database, telemetry), telemetry.registry))
    app.router.routes.extend(page_routes())
    handle_problems(app, telemetry)
    app.add_middleware(EncodedSegments)
    app.add_middleware(Timed, telemetry=telemetry)
    return app


def clock() -> int:
    """The present instant in microseconds."""
    return time.time_ns() // 1000


def refuse_demo_keys(settings: MetricsSettings, readers: list[Reader]) -> None:
    """Published keys are for this machine only, unless somebody says otherwise."""
    demo = [reader.name for reader in readers if has_demo_key(reader.keys)]
    if not demo:
        return
    if not settings.on_loopback and not settings.throughline_allow_demo_keys:
        raise ValueError(
            f"{settings.throughline_config / 'readers.yaml'}: {', '.join(demo)} has the published demo key, and "
            f"{settings.throughline_host} is not this machine alone; replace the key or set "
            "THROUGHLINE_ALLOW_DEMO_KEYS=1"
        )
    _log.warning("the published demo key may read; replace it in readers.yaml", readers=demo)


def _checks(settings: MetricsSettings, database: Database, telemetry: Telemetry) -> dict[str, Check]:
    async def tables() -> str | None:
        await database.fetch("select from cells limit 0")
        return None

    async def fresh() -> str | None:
        async with database.snapshot() as snapshot:
            known = await as_of(snapshot)
        lag = (clock() - known) / SECOND
        telemetry.lag.set(lag)
        if lag <= settings.metrics_stale_seconds:
            return None
        since = "nothing has been stitched yet" if moment(known) == EPOCH else f"answers are {lag:.0f} s old"
        return f"{since}; is a stitcher running?"

    return {"database": tables, "freshness": fresh}


class _Server(uvicorn.Server):
    """Leaves the signals to `serve`, which has something to do before uvicorn waits for open streams."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(app: FastAPI, settings: MetricsSettings, live: Live, reload: Callable[[], None]) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.throughline_host,
            port=settings.metrics_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )

    def stop() -> None:
        live.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await server.serve()
    finally:
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(name)
