"""The contract of the log, held against Kafka and against PostgreSQL."""

from __future__ import annotations

import asyncio
import time

import pytest
import stamina

from shared.eventlog.open import open_admin
from shared.eventlog.partition import partition_of
from shared.eventlog.port import Appender, LogUnavailable, OffsetLost, Record
from tests.contracts.conftest import Log, Scene, numbered, numbers

BIG = [Record(b"key", bytes(100_000))] * 10


async def test_a_partition_keeps_the_order_of_appends_and_counts_from_zero(scene: Scene) -> None:
    appender = await scene.appender()
    for first in range(0, 60, 20):
        await appender.append(scene.topic, numbered(20, first))
    got = await (await scene.member()).read(60)
    for partition in range(4):
        records = [record for record in got if record.partition == partition]
        assert [record.offset for record in records] == list(range(len(records)))
        assert [int(record.value) for record in records] == sorted(int(record.value) for record in records)


async def test_a_key_has_one_partition_and_both_logs_agree_which(scene: Scene) -> None:
    appender = await scene.appender()
    await asyncio.gather(*(appender.append(scene.topic, numbered(10)) for _ in range(3)))
    for record in await (await scene.member()).read(30):
        assert record.partition == partition_of(record.key, 4)


async def test_reading_starts_at_the_offset_that_the_listener_names(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, [Record(b"k", str(n).encode()) for n in range(10)])
    partition = partition_of(b"k", 4)
    got = await (await scene.member(starts={partition: 7})).read(3)
    assert [record.offset for record in got] == [7, 8, 9]


async def test_seek_reads_again_from_there(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, [Record(b"k", str(n).encode()) for n in range(10)])
    member = await scene.member()
    await member.read(10)
    await member.reader.seek({partition_of(b"k", 4): 8})
    again = (await member.read(12))[10:]
    assert [record.offset for record in again] == [8, 9]


async def test_bytes_keys_and_headers_come_back_as_they_were(scene: Scene) -> None:
    odd = Record(b"\x00\xff key", b"\xfe\x00 value", (("traceparent", b"00-ab"), ("traceparent", b""), ("ü", b"\x00")))
    bare = Record(b"", b"")
    appender = await scene.appender()
    await appender.append(scene.topic, [odd, bare])
    got = await (await scene.member()).read(2)
    assert {(record.key, record.value, record.headers) for record in got} == {
        (odd.key, odd.value, odd.headers),
        (b"", b"", ()),
    }


async def test_an_append_of_nothing_is_done_at_once(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, [])


async def test_ends_include_all_that_was_acknowledged_before(scene: Scene) -> None:
    appender, member = await scene.appender(), await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    for appended in range(1, 40):
        await appender.append(scene.topic, numbered(1, appended))
        assert sum((await member.reader.ends()).values()) == appended


async def test_ends_are_those_of_the_partitions_in_hand(scene: Scene) -> None:
    member = await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    await member.poll()
    assert await member.reader.ends() == {0: 0, 1: 0, 2: 0, 3: 0}


async def test_concurrent_appends_all_arrive_exactly_once(scene: Scene) -> None:
    appenders = [await scene.appender() for _ in range(2)]
    await asyncio.gather(*(appenders[n % 2].append(scene.topic, numbered(1, n)) for n in range(1000)))
    member = await scene.member()
    await member.read(1000)
    assert sum((await member.reader.ends()).values()) == 1000
    assert numbers(member.got) == list(range(1000))


async def test_a_write_larger_than_a_batch_arrives_in_order(scene: Scene) -> None:
    large = [Record(b"k", f"{n:05d}".encode() * 4000) for n in range(100)]  # 2 MB for one partition
    await (await scene.appender()).append(scene.topic, large)
    got = await (await scene.member()).read(100)
    assert [int(record.value[:5]) for record in got] == list(range(100))


async def test_a_poll_hands_out_at_most_the_limit_of_each_partition(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, numbered(400))
    member = await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    while len(member.got) < 400:
        assert all(len(records) <= 7 for records in (await member.poll(limit=7)).values())
    assert numbers(member.got) == list(range(400))


async def test_a_waiting_poll_ends_when_a_record_comes(scene: Scene) -> None:
    appender, member = await scene.appender(), await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    waiting = asyncio.create_task(member.reader.poll(10, 30.0))
    await member.reader.ends()
    await appender.append(scene.topic, numbered(1))
    async with asyncio.timeout(5):
        polled = await waiting
    assert [record.value for records in polled.values() for record in records] == [b"0"]


async def test_offsets_can_be_shown_to_lag_tools_and_are_not_read_back(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, numbered(40))
    first = await scene.member()
    await first.read(40)
    await first.reader.commit(first.starts)
    await first.reader.stop()
    assert numbers(await (await scene.member("two")).read(40)) == list(range(40))


async def test_two_readers_share_the_partitions_and_one_takes_over_when_the_other_stops(scene: Scene) -> None:
    appender, one = await scene.appender(), await scene.member("one")
    await one.poll_until(lambda: len(one.held) == 4)
    two = await scene.member("two")
    while not (len(one.held) == len(two.held) == 2):
        await asyncio.gather(one.poll(), two.poll())
    assert one.held | two.held == {0, 1, 2, 3}
    await appender.append(scene.topic, numbered(100))
    while len(one.got) + len(two.got) < 100:
        await asyncio.gather(one.poll(), two.poll())
    assert numbers(one.got + two.got) == list(range(100))
    one.starts |= two.starts
    await two.reader.stop()
    await appender.append(scene.topic, numbered(100, first=100))
    await one.poll_until(lambda: len(one.got) + len(two.got) == 200)
    assert one.held == {0, 1, 2, 3}
    assert numbers(one.got + two.got) == list(range(200))


async def test_the_partitions_of_a_reader_that_dies_go_to_the_others(scene: Scene) -> None:
    one = await scene.member("one")
    async with scene.other_process("two") as (dying, held):
        await one.poll_until(lambda: len(one.held) == 2)
        assert await held == {0, 1, 2, 3} - one.held
        dying.kill()
        await dying.wait()
    await one.poll_until(lambda: one.held == {0, 1, 2, 3})


async def test_what_the_listener_cannot_answer_reaches_the_caller_and_is_asked_again(scene: Scene) -> None:
    await (await scene.appender()).append(scene.topic, numbered(20))
    member = await scene.member()
    answers, calls = member.assigned, 0

    async def refusing_at_first(partitions: frozenset[int]) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no database")
        return await answers(partitions)

    member.assigned = refusing_at_first  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="no database"):
        await member.poll_until(lambda: False)
    assert numbers(await member.read(20)) == list(range(20))


async def test_what_is_gone_is_said_not_skipped(scene: Scene) -> None:
    appender = await scene.appender()
    for n in range(10):
        await appender.append(scene.topic, [Record(b"k", str(n).encode())])
    partition = partition_of(b"k", 4)
    await scene.log.forget(scene.topic, partition, below=6)
    member = await scene.member(starts={partition: 2})
    with pytest.raises(OffsetLost) as lost:
        await member.read(1)
    assert (lost.value.partition, lost.value.wanted, lost.value.earliest) == (partition, 2, 6)
    await member.reader.seek({partition: 6})
    assert [record.offset for record in await member.read(4)] == [6, 7, 8, 9]


async def test_topics_are_created_once_whoever_comes(log: Log, scene: Scene) -> None:
    names = {f"{scene.topic}-more": 3, f"{scene.topic}-others": 5}
    admin = open_admin(log.settings)
    await asyncio.gather(*(open_admin(log.settings).ensure(names) for _ in range(4)))
    await admin.ensure(dict.fromkeys(names, 7))
    assert [await admin.partitions(name) for name in names] == [3, 5]


async def test_a_topic_that_is_missing_is_named(log: Log) -> None:
    with pytest.raises(LogUnavailable, match="nowhere does not exist"):
        await open_admin(log.settings).partitions("nowhere")


async def test_after_a_crash_appending_and_reading_go_on_by_themselves(scene: Scene) -> None:
    appender, member = await scene.appender(timeout=1.5), await scene.member()
    await appender.append(scene.topic, numbered(10))
    await member.read(10)
    await asyncio.to_thread(scene.log.crash)
    began = time.monotonic()
    with pytest.raises(LogUnavailable):
        await appender.append(scene.topic, numbered(1, first=99))
    assert time.monotonic() - began < 3
    await asyncio.to_thread(scene.log.recover)
    await append_in_the_end(scene, appender, 10)
    await member.poll_until(lambda: {*range(10), 10} <= set(numbers(member.got)))
    assert numbers(member.got).count(5) == 1


async def test_a_log_that_hangs_is_refused_in_time_and_used_again(scene: Scene) -> None:
    appender = await scene.appender(timeout=1.0)
    await appender.append(scene.topic, numbered(1))
    async with scene.log.hang():
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(appender.append(scene.topic, numbered(1, first=n)) for n in range(1, 50)), return_exceptions=True
        )
        assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)
        assert time.monotonic() - began < 2.5
    await append_in_the_end(scene, appender, 1000)


async def test_an_appender_may_start_before_the_log(scene: Scene) -> None:
    await asyncio.to_thread(scene.log.crash)
    appender = await scene.appender(timeout=1.0)
    with pytest.raises(LogUnavailable):
        await appender.append(scene.topic, numbered(1))
    await asyncio.to_thread(scene.log.recover)
    await append_in_the_end(scene, appender, 0)


async def test_what_waits_is_bounded(scene: Scene) -> None:
    appender = await scene.appender(timeout=2.0, buffer_bytes=3_500_000)
    async with scene.log.hang():
        waiting = [asyncio.create_task(appender.append(scene.topic, BIG)) for _ in range(3)]
        await asyncio.wait(waiting, timeout=0.1)
        began = time.monotonic()
        with pytest.raises(LogUnavailable, match="wait"):
            await appender.append(scene.topic, BIG)
        assert time.monotonic() - began < 0.5
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)


async def test_stopping_does_not_wait_for_ever(scene: Scene) -> None:
    appender, member = await scene.appender(timeout=1.0), await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    async with scene.log.hang():
        late = asyncio.create_task(appender.append(scene.topic, numbered(1)))
        await asyncio.wait([late], timeout=0.1)
        began = time.monotonic()
        await appender.stop()
        await member.reader.stop()
        assert time.monotonic() - began < 12
        with pytest.raises(LogUnavailable):
            await late


async def append_in_the_end(scene: Scene, appender: Appender, number: int) -> None:
    """Appends the numbered record as soon as the log takes it."""
    async for attempt in stamina.retry_context(LogUnavailable, attempts=None, timeout=30, wait_max=0.1):
        with attempt:
            await appender.append(scene.topic, numbered(1, first=number))
