"""Keeps the dead letters within their limits of age and size: the oldest go first, some at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from services.stitcher.store import sql
from services.stitcher.store.failures import translated
from services.stitcher.telemetry import Telemetry
from shared.touchpoint import DAY

AT_A_TIME: Final = 1000


@dataclass(frozen=True, slots=True)
class Letters:
    """What is kept at most."""

    pool: Any
    telemetry: Telemetry
    days: float
    bytes: int

    async def sweep(self, now: int) -> None:
        """Takes away what is too much at ``now``, microseconds."""
        while await self._some(now):
            pass

    async def _some(self, now: int) -> bool:
        """One bounded delete; whether there may be more to take away."""
        with translated():
            held = await self.pool.fetchval(sql.KEPT_BYTES)
            self.telemetry.letter_bytes.set(held)
            before = now - int(self.days * DAY)
            aged, surplus = await self.pool.fetchrow(sql.EXPIRE_LETTERS, before, max(0, held - self.bytes), AT_A_TIME)
        self.telemetry.letters_expired.labels("age").inc(aged)
        self.telemetry.letters_expired.labels("size").inc(surplus)
        return bool(aged + surplus == AT_A_TIME)
