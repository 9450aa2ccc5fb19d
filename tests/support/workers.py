"""Stitching as it really happens: workers, partitions, batches, crashes and take-overs, on real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from deploy.migrations.schema import metadata
from services.stitcher.clock import Clock
from services.stitcher.errors import Stale, Transient
from services.stitcher.journey.rules import Plan
from services.stitcher.ports import Position
from services.stitcher.registry import register
from services.stitcher.settings import StitcherSettings
from services.stitcher.store import Store, open_pool
from services.stitcher.tasks import Stitching
from services.stitcher.telemetry import Telemetry
from shared.eventlog.port import Stored
from shared.touchpoint import TOUCHPOINTS
from tests.support.strategies import History

EMPTY: Final = f"truncate {', '.join(table.name for table in metadata.sorted_tables)} restart identity"


class Crashed(Exception):
    """The worker died here."""


class Problems:
    """What verify and replay report to."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def progress(self, what: str, done: int, total: int) -> None:
        pass

    def problem(self, text: str) -> None:
        self.found.append(text)


class Dying:
    """A unit that lets its worker die instead of the n-th thing it does."""

    def __init__(self, unit: Any, calls: int) -> None:
        self._unit, self._calls = unit, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._unit, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        self._calls -= 1
        if self._calls < 0:
            raise Crashed(name)
        return found


@dataclass(frozen=True)
class Way:
    """How records reach the tables; all else is drawn from ``random``."""

    random: Random
    partitions: int = 1
    workers: int = 1
    largest_batch: int = 1000
    crashes: bool = False


@dataclass
class Shop:
    """A database of our own, and a pool on it."""

    url: str
    pool: Any
    config: Path
    store: Store
    plans: list[Plan]
    history: History

    @property
    def settings(self) -> StitcherSettings:
        return StitcherSettings(database_url=self.url, throughline_config=self.config)

    async def stitch(self, records: Sequence[bytes], way: Way) -> None:
        """All records, by all workers at once; then time passes until the history's clock."""
        shares: dict[int, list[Stored]] = {partition: [] for partition in range(way.partitions)}
        for record in records:
            share = shares[way.random.randrange(way.partitions)]
            share.append(Stored(partition_of(shares, share), len(share), b"", record))
        owned = [{p: shares[p] for p in range(w, way.partitions, way.workers)} for w in range(way.workers)]
        await asyncio.gather(*(Worker(self, way, f"worker {n}", mine).run() for n, mine in enumerate(owned) if mine))
        await self.close(self.history.clock, way.largest_batch)

    async def close(self, clock: int, batch: int) -> None:
        """Moves the clock, never backwards, and closes what is due."""
        await self.pool.execute("update clock set now = greatest(now, $1)", clock)
        closing = Clock(self.store, self.plans, Telemetry(), batch, 24)
        while await closing.close_some(clock):
            pass


def partition_of(shares: Mapping[int, Any], share: Any) -> int:
    return next(partition for partition, one in shares.items() if one is share)


@dataclass
class Worker:
    """Reads its partitions batch by batch, as the loop does; may die anywhere and go on from what the tables say."""

    shop: Shop
    way: Way
    name: str
    records: dict[int, list[Stored]]

    async def run(self) -> None:
        self._task = Stitching(self.shop.plans, self.shop.history.rules, Telemetry(), lambda: 0, lambda: None)
        await self._claim()
        while self._left():
            await self._turn()

    async def _claim(self) -> None:
        claimed = await self.shop.store.claim(TOUCHPOINTS, self.records, self.name)
        self._epochs = {partition: one.epoch for partition, one in claimed.items()}
        self._next = {partition: one.next_offset for partition, one in claimed.items()}

    def _left(self) -> bool:
        return any(self._next[partition] < len(records) for partition, records in self.records.items())

    async def _turn(self) -> None:
        random = self.way.random
        if self.way.crashes and random.random() < 0.2:
            await self._overtaken()
        if self.way.crashes and random.random() < 0.2:
            await self.shop.close(random.randrange(self.shop.history.clock + 1), self.way.largest_batch)
        batch = self._batch()
        dies = random.randrange(30) if self.way.crashes and random.random() < 0.5 else None
        try:
            await self._commit(batch, dies)
        except Crashed:
            await self._claim()
        except Transient:
            await asyncio.sleep(0)

    def _batch(self) -> dict[int, list[Stored]]:
        size, taken = self.way.random.randint(1, self.way.largest_batch), {}
        for partition in self.way.random.sample(sorted(self.records), len(self.records)):
            records = self.records[partition][self._next[partition] :][:size]
            if records:
                taken[partition] = records
                size -= len(records)
            if size <= 0:
                break
        return taken

    async def _overtaken(self) -> None:
        """Somebody else takes the partitions over while this worker holds a batch: it cannot commit."""
        batch = self._batch()
        await self.shop.store.claim(TOUCHPOINTS, self.records, "somebody else")
        try:
            await self._commit(batch, None)
        except Stale:
            await self._claim()
        else:
            raise AssertionError("a worker that was overtaken has committed")

    async def _commit(self, batch: Mapping[int, Sequence[Stored]], dies: int | None) -> None:
        positions = {
            partition: Position(self._epochs[partition], self._next[partition], self._next[partition] + len(records), 0)
            for partition, records in batch.items()
        }
        prepared, letters = self._task.prepare([record for records in batch.values() for record in records])
        assert not letters
        async with self.shop.store.unit() as unit:
            doing: Any = unit if dies is None else Dying(unit, dies)
            clock = await doing.fence(TOUCHPOINTS, positions)
            await self._task.apply(doing, prepared, clock, self.shop.history.clock)
        self._next |= {partition: position.next for partition, position in positions.items()}


def configure(config: Path, history: History) -> None:
    """Writes a history's rules and maps where the product looks for them."""
    (config / "maps").mkdir(parents=True, exist_ok=True)
    (config / "identity.yaml").write_text(f"shared_above: {history.rules.shared_above}\n", encoding="utf-8")
    for old in (config / "maps").iterdir():
        old.unlink()
    for m in history.maps:
        (config / "maps" / f"{m.map}.yaml").write_text(yaml.safe_dump(m.definition()), encoding="utf-8")


@asynccontextmanager
async def opened(url: str, config: Path) -> AsyncIterator[Any]:
    """Answers a function that gives a shop: the same database, emptied, with a history's maps and rules."""
    pool = await open_pool(url, statement_seconds=30, idle_seconds=30)

    async def shop(history: History, partitions: int = 1) -> Shop:
        await pool.execute(EMPTY)
        configure(config, history)
        plans = await register(url, history.maps, history.rules, Problems())
        store = Store(pool, [plan.map_id for plan in plans])
        await store.prepare({TOUCHPOINTS: partitions})
        return Shop(url, pool, config, store, plans, history)

    try:
        yield shop
    finally:
        await pool.close()
