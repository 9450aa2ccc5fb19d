"""Group commit: concurrent appends share one write in flight; what comes meanwhile goes with the next one."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.eventlog.port import LogUnavailable, Record

log = logging.getLogger(__name__)

RECORD_OVERHEAD = 64  # bytes that a record costs in memory besides its key and value


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an append may take, and how much may wait.

    ``linger``: a write begins at least so many seconds after the one before has ended, so that calls that keep coming
    share it, those of clients just answered with those that waited; a call after a silence is written at once, and so
    is everything once ``write_bytes`` wait.
    """

    timeout: float = 4.0
    linger: float = 0.003
    write_bytes: int = 4 * 1024 * 1024
    buffer_bytes: int = 64 * 1024 * 1024


class Call:
    """One append that waits for its acknowledgement."""

    __slots__ = ("deadline", "done", "records", "size", "topic")

    def __init__(self, topic: str, records: Sequence[Record], deadline: float, done: asyncio.Future[None]) -> None:
        self.topic, self.records, self.deadline, self.done = topic, records, deadline, done
        self.size = sum([RECORD_OVERHEAD + len(record.key) + len(record.value) for record in records])

    @property
    def largest(self) -> int:
        """Bytes of its largest record."""
        return max(len(record.key) + len(record.value) for record in self.records)

    def acknowledge(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(LogUnavailable(reason))


Write = Callable[[Sequence[Call]], Awaitable[None]]


class GroupCommit:
    """Collects calls and hands them to ``write``, in order, one write at a time.

    ``write`` returns when the calls' records are durable, or raises LogUnavailable for all of them; single calls it
    may fail itself. It must end within the timeout. A record larger than ``record_bytes`` is the caller's mistake.
    """

    def __init__(self, write: Write, limits: Limits, record_bytes: int = sys.maxsize) -> None:
        self._write, self._limits, self._record_bytes = write, limits, record_bytes
        self._waiting: deque[Call] = deque()
        self._in_flight: list[Call] = []
        self._held_bytes = 0
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._last_end = float("-inf")
        self._stopped = False

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        """Waits for the acknowledgement; LogUnavailable when it does not come in time, at once when too much waits."""
        if not records:
            return
        loop = asyncio.get_running_loop()
        call = Call(topic, records, time.monotonic() + self._limits.timeout, loop.create_future())
        self._admit(call)
        self._waiting.append(call)
        self._held_bytes += call.size
        self._waiting_bytes += call.size
        if self._expiry is None:
            self._expiry = loop.call_later(self._limits.timeout, self._expire)
        self._schedule()
        await call.done

    async def stop(self) -> None:
        """Writes what waits, at most for the timeout; the rest fails."""
        self._stopped = True
        deadline = time.monotonic() + self._limits.timeout
        while (self._waiting or self._writer) and time.monotonic() < deadline:
            self._begin()
            if self._writer:
                await asyncio.wait([self._writer], timeout=deadline - time.monotonic())
        if self._writer:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._fail([*self._in_flight, *self._waiting], "the log was closed")
        self._waiting.clear()
        for timer in (self._expiry, self._lingering):
            if timer is not None:
                timer.cancel()

    def _admit(self, call: Call) -> None:
        if call.size > self._record_bytes and call.largest > self._record_bytes:
            raise ValueError(f"a record is larger than {self._record_bytes} bytes")
        if self._stopped:
            raise LogUnavailable("the log is closed")
        if self._held_bytes and self._held_bytes + call.size > self._limits.buffer_bytes:
            raise LogUnavailable("too many appends wait for the log")

    def _schedule(self) -> None:
        if self._writer is not None or not self._waiting:
            return
        wait = self._last_end + self._limits.linger - time.monotonic()
        if wait <= 0 or self._stopped or self._waiting_bytes >= self._limits.write_bytes:
            self._begin()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._writer is None and self._waiting:
            self._writer = asyncio.create_task(self._write_once())

    async def _write_once(self) -> None:
        self._in_flight = calls = self._take()
        try:
            await self._write(calls)
        except LogUnavailable as away:
            self._fail(calls, str(away))
        except Exception:
            log.exception("a write to the log failed in an unforeseen way")
            self._fail(calls, "the write failed")
        except asyncio.CancelledError:
            self._fail(calls, "the write broke off")
            raise
        finally:
            for call in calls:
                call.acknowledge()
            self._held_bytes -= sum([call.size for call in calls])
            self._in_flight, self._writer = [], None
            self._last_end = time.monotonic()
            self._schedule()

    def _take(self) -> list[Call]:
        """From the front, at least one, up to the size of a write; callers that gave up are left out."""
        calls: list[Call] = []
        size = 0
        while self._waiting and (not calls or size + self._waiting[0].size <= self._limits.write_bytes):
            call = self._waiting.popleft()
            self._waiting_bytes -= call.size
            if call.done.done():
                self._held_bytes -= call.size
            else:
                calls.append(call)
                size += call.size
        return calls

    def _expire(self) -> None:
        """Fails what is past its deadline; runs once a timeout while calls are waiting, not once a call."""
        now = time.monotonic()
        late = [call for call in (*self._in_flight, *self._waiting) if call.deadline <= now]
        self._fail(late, "the log did not acknowledge in time")
        left = [call.deadline for call in (*self._in_flight, *self._waiting) if not call.done.done()]
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(max(min(left) - now, 0), self._expire) if left else None

    @staticmethod
    def _fail(calls: Sequence[Call], reason: str) -> None:
        for call in calls:
            call.fail(reason)
