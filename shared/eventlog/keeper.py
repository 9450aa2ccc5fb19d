"""Keeps one connection to the log alive in the background, and says when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared.eventlog.port import LogUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_RETRY = 0.1
LAST_RETRY = 1.0


class Keeper(Generic[T]):
    """Connects, and connects again when told that the connection is broken, until it is stopped.

    After a failed attempt it is *away*, and everybody who asks hears so at once instead of waiting.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[T]], discard: Callable[[T], Awaitable[None]], timeout: float
    ) -> None:
        self._connect, self._discard, self._timeout = connect, discard, timeout
        self._connection: T | None = None
        self._changed = asyncio.Event()  # connected, or found to be away
        self._broken = asyncio.Event()
        self._away: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Returns when connected or after the timeout, whichever comes first; never fails."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
        with contextlib.suppress(LogUnavailable):
            await self.get()

    def check(self) -> None:
        """LogUnavailable when the last attempt to connect failed."""
        if self._away is not None:
            raise LogUnavailable(self._away)

    async def get(self) -> T:
        """The connection, waiting for one that is on its way; LogUnavailable when it does not come in time."""
        try:
            async with asyncio.timeout(self._timeout):
                while self._connection is None:
                    self.check()
                    if self._task is None:
                        raise LogUnavailable("the log is closed")
                    await self._changed.wait()
        except TimeoutError:
            raise LogUnavailable("no connection to the log in time") from None
        return self._connection

    def broken(self, connection: T) -> None:
        """This one is of no use any more: let go of it and connect again."""
        if self._connection is connection:
            self._connection = None
            self._changed.clear()
            self._broken.set()
            self._let_go(connection)

    async def stop(self) -> None:
        """Stops connecting and lets go of the connection."""
        task, self._task = self._task, None
        self._changed.set()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        connection, self._connection = self._connection, None
        if connection is not None:
            self._let_go(connection)
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _let_go(self, connection: T) -> None:
        """In the background: a broken connection may take its time to close, the next one does not wait for it."""
        task = asyncio.ensure_future(self._discard(connection))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _keep(self) -> None:
        while True:
            self._connection = await self._connect_at_last()
            self._away = None
            self._changed.set()
            await self._broken.wait()
            self._broken.clear()

    async def _connect_at_last(self) -> T:
        pause = FIRST_RETRY
        while True:
            try:
                return await self._connect()
            except LogUnavailable as away:
                if self._away is None:
                    log.warning("the log is away: %s", away)
                self._away = str(away)
                self._changed.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY)
