"""The change stream: one reading a second while anybody listens, told to all who do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from services.metrics.errors import TooSlow, Unavailable

KEPT: Final = 1000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event about a map; ``data`` is JSON."""

    name: str
    map: str
    data: str


Read = Callable[[], Awaitable[list[Event]]]


class Live:
    """Listeners share one reading. A listener that does not keep up loses the oldest events, never holds up others."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._closed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def reading(self) -> bool:
        """Whether anything is read for them now."""
        return self._reading is not None

    async def listen(self, read: Read) -> AsyncIterator[Event]:
        """Events from now on, until `close`; the first listener's ``read`` serves them all."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(KEPT)
        if self._closed.is_set():
            return
        self._listeners.add(queue)
        if self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(read))
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Ends all streams at once, and those that are still asked for."""
        self._closed.set()
        for queue in self._listeners:
            _put(queue, None)

    async def stop(self) -> None:
        """Closes and waits for the reading in progress."""
        self.close()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _keep_reading(self, read: Read) -> None:
        try:
            while self._listeners and not self._closed.is_set():
                await self._tell(read)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), self._seconds)
        finally:
            self._reading = None

    async def _tell(self, read: Read) -> None:
        try:
            events = await read()
        except (Unavailable, TooSlow) as error:
            _log.warning("nothing to stream", error=repr(error))
            return
        for queue in list(self._listeners):
            for event in events:
                _put(queue, event)


def _put(queue: asyncio.Queue[Event | None], event: Event | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
