"""Opens transactions, and moves partitions between workers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from services.stitcher.errors import Paused
from services.stitcher.store import sql
from services.stitcher.store.cells import Cells
from services.stitcher.store.failures import translated
from services.stitcher.store.unit import Durations, PostgresUnit

REPLAY_LOCK: Final = 0x7468726C_0001  # shared by all who stitch, held alone by a replay
REMEMBERED: Final = 200_000  # identifiers whose components are known without asking


@dataclass(frozen=True, slots=True)
class Claimed:
    """A partition in our hands: our epoch, and the offset to go on from."""

    epoch: int
    next_offset: int


class Store:
    """The tables; ``map_ids`` are the maps that are live for this process."""

    def __init__(self, pool: Any, map_ids: Sequence[int]) -> None:
        self.pool = pool
        self.map_ids = list(map_ids)
        self._cells = Cells(pool)
        self._components: dict[UUID, UUID] = {}

    @asynccontextmanager
    async def unit(self, durations: Durations | None = None) -> AsyncIterator[PostgresUnit]:
        """One transaction: it commits when the block ends without an exception. Paused while a replay runs."""
        with translated():
            async with self.pool.acquire() as connection:
                transaction = connection.transaction(isolation="read_committed")
                await transaction.start()
                try:
                    if not await connection.fetchval(sql.JOIN, REPLAY_LOCK):
                        raise Paused("a replay is running")
                    unit = PostgresUnit(connection, self.map_ids, self._cells, self._components, durations)
                    yield unit
                except BaseException:
                    self._components.clear()
                    await _undone(connection, transaction)
                    raise
                started = time.perf_counter()
                await transaction.commit()
                unit.durations["commit"] += time.perf_counter() - started
                self._remember(unit.seen)

    def _remember(self, components: Mapping[UUID, UUID]) -> None:
        if len(self._components) > REMEMBERED:
            self._components.clear()
        self._components |= components

    async def claim(self, topic: str, partitions: Iterable[int], owner: str) -> dict[int, Claimed]:
        """Takes partitions over under a new epoch each: whoever had them can no longer commit."""
        with translated():
            now = time.time_ns() // 1000
            rows = await self.pool.fetch(sql.CLAIM, topic, sorted(partitions), owner, now)
        return {row[0]: Claimed(row[1], row[2]) for row in rows}

    async def positions(self, topic: str, partitions: Iterable[int]) -> Mapping[int, Claimed]:
        """Where partitions stand: the epoch in force and the next offset."""
        with translated():
            rows = await self.pool.fetch(sql.POSITIONS, topic, sorted(partitions))
        return {row[0]: Claimed(row[1], row[2]) for row in rows}

    async def prepare(self, topics: Mapping[str, int]) -> None:
        """A row for each partition of these topics, and the clock's."""
        with translated():
            for topic, partitions in topics.items():
                await self.pool.execute(sql.PREPARE, topic, partitions)
            await self.pool.execute(sql.PREPARE_CLOCK)


async def _undone(connection: Any, transaction: Any) -> None:
    """Rolls back; a connection that cannot is not used again."""
    try:
        await transaction.rollback()
    except Exception:
        with suppress(Exception):
            connection.terminate()
