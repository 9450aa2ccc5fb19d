"""The numbers of rollup cells: looked up once, then remembered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.stitcher.journey.facts import Cell
from services.stitcher.store import rows, sql

MOST = 200_000


class Cells:
    """New cells are added outside the batch's transaction: nobody waits for them, and a rollback leaves none behind
    that was remembered."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._ids: dict[Cell, int] = {}

    async def ids(self, wanted: Iterable[Cell]) -> dict[Cell, int]:
        """The number of each, and of others."""
        missing = sorted(cell for cell in wanted if cell not in self._ids)
        if missing:
            if len(self._ids) > MOST:
                self._ids = {}
                missing = sorted(wanted)
            await self._learn(missing)
        return self._ids

    async def _learn(self, missing: list[Cell]) -> None:
        columns = rows.columns(missing, 5)
        async with self._pool.acquire() as connection:
            await connection.execute(sql.INSERT_CELLS, *columns)
            for row in await connection.fetch(sql.CELLS, *columns):
                self._ids[Cell(*row[1:])] = row[0]
