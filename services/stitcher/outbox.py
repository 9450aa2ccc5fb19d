"""Publishes the outbox on journeys.changes: at least once, and in order for each profile; one process at a time."""

from __future__ import annotations

from typing import Any, Final

from services.stitcher.store import rows, sql
from services.stitcher.store.failures import translated
from services.stitcher.telemetry import Telemetry
from shared.eventlog.port import Appender, Record
from shared.touchpoint import CHANGES

OUTBOX_LOCK: Final = 0x7468726C_0003
MOST: Final = 20  # rows, each of which holds many changes


class Outbox:
    """A profile's changes lie in the outbox in order, since whoever writes them has the profile's component locked;
    so reading by position keeps that order even where transactions commit in another one."""

    name = "outbox"
    lock = OUTBOX_LOCK
    pause = 0.2

    def __init__(self, pool: Any, appender: Appender, telemetry: Telemetry) -> None:
        self._pool, self._appender, self._telemetry = pool, appender, telemetry

    async def turn(self) -> None:
        while await self.publish_some() == MOST:
            pass

    async def publish_some(self) -> int:
        """Publishes the oldest rows, and deletes them once the log has them; answers how many rows."""
        with translated():
            found = await self._pool.fetch(sql.OUTBOX, MOST)
        if found:
            records = [Record(key.encode(), value) for row in found for key, value in rows.outbox_records(row[1])]
            await self._appender.append(CHANGES, records)
            with translated():
                await self._pool.execute(sql.DELETE_OUTBOX, [row[0] for row in found])
            self._telemetry.published.inc(len(records))
        return len(found)
