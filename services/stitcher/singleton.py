"""Work that one process at a time does, whoever comes first: held by an advisory lock on a connection of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from services.stitcher.errors import Paused, Transient, Unavailable
from services.stitcher.store.failures import translated
from shared.eventlog.port import LogUnavailable

log = structlog.get_logger(__name__)

STANDBY: Final = 1.0  # seconds between two attempts to become the one
PATIENCE: Final = 20.0  # seconds that whoever holds the lock may be silent: a paused process loses it
PASSING: Final = (Transient, Unavailable, Paused, LogUnavailable)


class Work(Protocol):
    """What is done turn by turn, ``pause`` seconds apart. A turn must bear being interrupted by another process's."""

    @property
    def name(self) -> str: ...

    @property
    def lock(self) -> int: ...

    @property
    def pause(self) -> float: ...

    async def turn(self) -> None: ...


class Singleton:
    """Does the work while the lock is ours; ``trouble`` says why it does not get on."""

    def __init__(self, pool: Any, work: Work) -> None:
        self._pool, self._work = pool, work
        self.trouble: str | None = None
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is something to do: do not wait for the pause to end."""
        self._wake.set()

    def stop(self) -> None:
        """Ends `run` after the turn in hand."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._as_the_one()
            except PASSING as error:
                self.trouble = f"{type(error).__name__}: {error}"
                log.warning("waiting", work=self._work.name, reason=self.trouble)
            await self._rest(STANDBY)

    async def _as_the_one(self) -> None:
        with translated():
            async with self._pool.acquire() as connection:
                if not await connection.fetchval("select pg_try_advisory_lock($1)", self._work.lock):
                    self.trouble = None
                    return
                await connection.execute(f"set idle_session_timeout = '{PATIENCE:g}s'")
                try:
                    await self._turns(connection)
                finally:
                    with suppress(Exception):
                        await connection.execute("set idle_session_timeout = 0")
                        await connection.execute("select pg_advisory_unlock($1)", self._work.lock)

    async def _turns(self, connection: Any) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            await connection.fetchval("select 1")  # the lock is ours as long as this connection lives
            await self._work.turn()
            self.trouble = None
            await self._rest(self._work.pause - (time.monotonic() - started))

    async def _rest(self, seconds: float) -> None:
        if not self._stopping.is_set() and seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
        if not self._stopping.is_set():
            self._wake.clear()
