"""The log as ingest sees it: opened when it can be reached, however long that takes; away until then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from shared.eventlog.port import Admin, Appender, LogUnavailable, Record
from shared.touchpoint import CHANGES, REJECTED, TOUCHPOINTS

TOPICS: Final = (TOUCHPOINTS, REJECTED, CHANGES)
AGAIN_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


class Log:
    """An Appender that exists before the log can be reached."""

    def __init__(self, appender: Appender, admin: Admin, partitions: int) -> None:
        self._appender, self._admin, self._partitions = appender, admin, partitions
        self._is_open = False

    async def open(self) -> None:
        """Makes the topics and starts the appender; tries until it succeeds."""
        while not self._is_open:
            try:
                await self._admin.ensure(dict.fromkeys(TOPICS, self._partitions))
                await self._appender.start()
            except (LogUnavailable, OSError) as error:
                _log.warning("the log is away; trying again", why=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._is_open = True

    async def start(self) -> None:
        await self.open()

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        if not self._is_open:
            raise LogUnavailable("the log has not been reached yet")
        await self._appender.append(topic, records)

    async def stop(self) -> None:
        if self._is_open:
            await self._appender.stop()

    async def check(self) -> str | None:
        """For /readyz: whether the log answers now."""
        if not self._is_open:
            return "the log has not been reached yet"
        try:
            await self._admin.partitions(TOUCHPOINTS)
        except LogUnavailable as error:
            return f"the log is away: {error}"
        return None
