"""Loops for tests: real logs, real tables, as many workers as wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.stitcher.app import GROUP, ensure_topics, now
from services.stitcher.journey.rules import Plan
from services.stitcher.loop import Loop, Pace
from services.stitcher.settings import StitcherSettings
from services.stitcher.store import Store, open_pool
from services.stitcher.tasks import Rejections, Stitching
from services.stitcher.telemetry import Telemetry
from shared.eventlog.open import open_appender, open_reader
from shared.eventlog.port import Record, Stored
from shared.touchpoint import TOUCHPOINTS, Command, Touchpoint
from tests.integration.stitcher.world import RULES, ask, encoded, until

FAST = Pace(batch=50, linger=0.0, in_a_row=5, retries=50)


async def nothing() -> None:
    """Nobody has changed the maps."""


@dataclass
class Scene:
    """A log, tables and plans; workers may come and go. ``decoded``: how many records were in each batch they read."""

    settings: StitcherSettings
    plans: Sequence[Plan]
    appender: Any
    decoded: list[int] = field(default_factory=list)

    @property
    def database(self) -> str:
        return self.settings.database_url or ""

    async def send(self, messages: Iterable[Touchpoint | Command]) -> None:
        await self.send_bytes(encoded(messages))

    async def send_bytes(self, values: Iterable[bytes], topic: str = TOUCHPOINTS, key: bytes | None = None) -> None:
        """Spread over the partitions, or by key."""
        records = [Record(key or str(n).encode(), value) for n, value in enumerate(values)]
        await self.appender.append(topic, records)

    @asynccontextmanager
    async def loop(
        self, name: str = "one", pace: Pace = FAST, wrap: Callable[[Any], Any] = lambda unit: unit,
        rejoining: Callable[[], Awaitable[None]] = nothing, topic: str = TOUCHPOINTS,
    ) -> AsyncIterator[Loop]:  # fmt: skip
        """A loop that does not run yet."""
        pool = await open_pool(self.database, statement_seconds=20, idle_seconds=3)
        store, telemetry = Store(pool, [plan.map_id for plan in self.plans]), Telemetry()
        task = (
            Wrapping(self.plans, RULES, telemetry, now, lambda: None, wrap, self.decoded)
            if topic == TOUCHPOINTS
            else None
        )
        try:
            yield Loop(
                topic, store, task or Rejections(telemetry),
                open_reader=lambda: open_reader(self.settings, topic, f"{GROUP}.{topic}", name),
                owner=name, pace=pace, telemetry=telemetry, now=now, rejoining=rejoining,
            )  # fmt: skip
        finally:
            await pool.close()

    @asynccontextmanager
    async def worker(self, *given: Any, **named: Any) -> AsyncIterator[Loop]:
        """A `loop` that runs meanwhile; its failure is the test's."""
        async with self.loop(*given, **named) as loop:
            running = asyncio.create_task(loop.run())
            try:
                yield loop
            finally:
                loop.stop()
                await asyncio.wait([running], timeout=15)
                running.cancel()
            await running

    async def drained(self, topic: str = TOUCHPOINTS) -> None:
        """Waits until everything sent so far is in: `as_of` of all partitions has passed this instant."""
        start = time.time_ns() // 1000
        query = "select min(as_of) from partitions where topic = $1"

        async def passed() -> bool:
            return bool((await ask(self.database, query, topic))[0][0] > start)

        await until(passed, 40)


class Wrapping(Stitching):
    """Stitching through a unit with something around it, that says what it has read."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given[:-2])
        object.__setattr__(self, "wrap", given[-2])
        object.__setattr__(self, "decoded", given[-1])

    def prepare(self, records: Sequence[Stored]) -> Any:
        prepared = super().prepare(records)
        if records:
            self.decoded.append(len(records))  # type: ignore[attr-defined]
        return prepared

    async def apply(self, unit: Any, prepared: Any, clock: int, now: int) -> Any:
        return await super().apply(self.wrap(unit), prepared, clock, now)  # type: ignore[attr-defined]


@asynccontextmanager
async def scene(settings: StitcherSettings, plans: Sequence[Plan]) -> AsyncIterator[Scene]:
    """Topics, rows for all partitions, and an appender."""
    partitions = await ensure_topics(settings)
    pool = await open_pool(settings.database_url or "", statement_seconds=20, idle_seconds=20)
    await Store(pool, []).prepare(partitions)
    await pool.close()
    appender = open_appender(settings)
    await appender.start()
    try:
        yield Scene(settings, plans, appender)
    finally:
        await appender.stop()
