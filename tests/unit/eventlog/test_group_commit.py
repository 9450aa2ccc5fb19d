"""Concurrent appends share writes, in order, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.eventlog.group_commit import RECORD_OVERHEAD, Call, GroupCommit, Limits
from shared.eventlog.port import LogUnavailable, Record


class Written:
    """Takes writes one by one, each held up until it is let go."""

    def __init__(self, limits: Limits = Limits(linger=0.0)) -> None:  # noqa: B008 (frozen)
        self.writes: list[list[bytes]] = []
        self.failures: list[Exception] = []  # of the first writes
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.commit = GroupCommit(self._write, limits)

    async def _write(self, calls: Sequence[Call]) -> None:
        self.writes.append([record.value for call in calls for record in call.records])
        self.began.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)

    def append(self, *values: bytes) -> asyncio.Task[None]:
        return asyncio.create_task(self.commit.append("topic", [Record(b"k", value) for value in values]))


async def test_what_comes_during_a_write_goes_together_with_the_next_one() -> None:
    log = Written()
    first = log.append(b"1")
    await log.began.wait()
    others = [log.append(b"2"), log.append(b"3", b"4"), log.append(b"5")]
    await asyncio.wait(others, timeout=0.01)
    log.gate.set()
    await asyncio.gather(first, *others)
    assert log.writes == [[b"1"], [b"2", b"3", b"4", b"5"]]


async def test_calls_of_one_moment_share_the_first_write() -> None:
    log = Written()
    log.gate.set()
    await asyncio.gather(*(log.append(b"%d" % n) for n in range(100)))
    assert log.writes == [[b"%d" % n for n in range(100)]]


async def test_calls_that_keep_coming_wait_a_little_for_each_other() -> None:
    log = Written(Limits(linger=0.05))
    log.gate.set()
    await log.append(b"at once")
    soon = log.append(b"waits")
    await asyncio.wait([soon], timeout=0.005)
    await asyncio.gather(soon, log.append(b"for this"))
    assert log.writes == [[b"at once"], [b"waits", b"for this"]]


async def test_nobody_lingers_once_a_write_is_full() -> None:
    log = Written(Limits(linger=60.0, write_bytes=1000))
    log.gate.set()
    await log.append(b"at once")
    async with asyncio.timeout(5):
        await log.append(bytes(1000))
    assert len(log.writes) == 2


async def test_a_failed_write_fails_its_calls_and_no_others() -> None:
    log = Written()
    log.failures = [LogUnavailable("gone")]
    first = log.append(b"1")
    await log.began.wait()
    second = log.append(b"2")
    await asyncio.wait([second], timeout=0.01)
    log.gate.set()
    with pytest.raises(LogUnavailable, match="gone"):
        await first
    await second


async def test_an_unforeseen_error_is_a_log_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    log = Written()
    log.gate.set()
    log.failures = [ZeroDivisionError("bug")]
    with pytest.raises(LogUnavailable):
        await log.append(b"1")
    assert "bug" in caplog.text


async def test_nobody_waits_longer_than_the_timeout_in_flight_or_not() -> None:
    log = Written(Limits(timeout=0.1, linger=0.0))
    stuck = log.append(b"1")
    await log.began.wait()
    outcomes = await asyncio.wait_for(asyncio.gather(stuck, log.append(b"2"), return_exceptions=True), 2)
    assert [str(outcome) for outcome in outcomes] == ["the log did not acknowledge in time"] * 2
    log.gate.set()
    await log.append(b"3")
    assert log.writes == [[b"1"], [b"3"]]


async def test_too_much_is_refused_at_once_and_room_comes_back() -> None:
    room = 3 * (1 + RECORD_OVERHEAD + 100)
    log = Written(Limits(linger=0.0, buffer_bytes=room))
    waiting = [log.append(bytes(100)) for _ in range(3)]
    await log.began.wait()
    with pytest.raises(LogUnavailable, match="too many"):
        await log.append(b"x")
    log.gate.set()
    await asyncio.gather(*waiting)
    await log.append(b"x")


async def test_a_caller_that_gives_up_takes_its_records_along_unless_they_are_on_their_way() -> None:
    log = Written()
    first = log.append(b"on its way")
    await log.began.wait()
    second, third = log.append(b"given up"), log.append(b"kept")
    await asyncio.wait([second, third], timeout=0.01)
    first.cancel()
    second.cancel()
    log.gate.set()
    await third
    assert log.writes == [[b"on its way"], [b"kept"]]


async def test_stopping_writes_what_waits_and_takes_no_more() -> None:
    log = Written(Limits(linger=60.0))
    log.gate.set()
    await log.append(b"1")
    last = log.append(b"2")
    await asyncio.wait([last], timeout=0.01)
    await log.commit.stop()
    await last
    with pytest.raises(LogUnavailable, match="closed"):
        await log.append(b"3")
