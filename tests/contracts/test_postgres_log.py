"""What only the log in PostgreSQL can get wrong: commits that come late, leases, retention."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from shared.eventlog.open import open_admin
from shared.eventlog.partition import partition_of
from shared.eventlog.port import Record
from shared.eventlog.postgres import APPEND, pack, trim
from tests.contracts.conftest import PostgresLog, Scene, numbered, numbers
from throughline.embedded import Server

ONE_KEY = partition_of(b"k", 4)


@pytest.fixture
def log(migrated_postgres: Server) -> PostgresLog:
    return PostgresLog(migrated_postgres)


@pytest.fixture
async def scene(scene: Scene) -> Scene:
    return scene


def columns(topic: str, records: list[Record]) -> tuple[list[str], list[int], list[int], list[bytes]]:
    return [topic], [ONE_KEY], [len(records)], [pack(records)]


async def test_an_append_that_commits_late_is_never_passed_by(scene: Scene, migrated_postgres: Server) -> None:
    appender, member = await scene.appender(), await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    slow = await asyncpg.connect(migrated_postgres.url)
    transaction = slow.transaction()
    await transaction.start()
    await slow.fetch(APPEND, *columns(scene.topic, [Record(b"k", b"1")]))
    late = asyncio.create_task(appender.append(scene.topic, [Record(b"k", b"2")]))
    assert not await member.poll()
    assert (await member.reader.ends())[ONE_KEY] == 0
    assert not late.done()
    await transaction.commit()
    await late
    assert [(record.offset, record.value) for record in await member.read(2)] == [(0, b"1"), (1, b"2")]
    await slow.close()


async def test_topics_that_are_there_are_ensured_although_an_append_stands_still(
    scene: Scene, migrated_postgres: Server, log: PostgresLog
) -> None:
    stopped = await asyncpg.connect(migrated_postgres.url)
    transaction = stopped.transaction()
    await transaction.start()
    await stopped.fetch(APPEND, *columns(scene.topic, [Record(b"k", b"1")]))
    await open_admin(log.settings).ensure({scene.topic: 4})
    await transaction.rollback()
    await stopped.close()


async def test_an_append_that_is_rolled_back_leaves_no_hole(scene: Scene, migrated_postgres: Server) -> None:
    appender, other = await scene.appender(), await asyncpg.connect(migrated_postgres.url)
    transaction = other.transaction()
    await transaction.start()
    await other.fetch(APPEND, *columns(scene.topic, [Record(b"k", b"never")]))
    late = asyncio.create_task(appender.append(scene.topic, [Record(b"k", b"kept")]))
    await transaction.rollback()
    await late
    assert [(record.offset, record.value) for record in await (await scene.member()).read(1)] == [(0, b"kept")]
    await other.close()


async def test_writers_of_the_same_partitions_do_not_deadlock(scene: Scene) -> None:
    appenders = [await scene.appender(linger=0.0) for _ in range(3)]
    await asyncio.gather(*(appenders[n % 3].append(scene.topic, numbered(4, 4 * n)) for n in range(300)))
    assert numbers(await (await scene.member()).read(1200)) == list(range(1200))


async def test_a_connection_that_is_cut_is_replaced(scene: Scene, migrated_postgres: Server) -> None:
    appender, member = await scene.appender(), await scene.member()
    await member.poll_until(lambda: len(member.held) == 4)
    other = await asyncpg.connect(migrated_postgres.url)
    cut = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name like '%log%'"
    assert all(gone for (gone,) in await other.fetch(cut))  # what is on its way meanwhile may fail, and rightly
    await other.close()
    await appender.append(scene.topic, numbered(10))
    assert numbers(await member.read(10)) == list(range(10))


async def test_only_what_is_old_and_behind_is_deleted(scene: Scene, migrated_postgres: Server) -> None:
    appender = await scene.appender()
    for n in range(5):
        await appender.append(scene.topic, [Record(b"k", str(n).encode())])
    connection = await asyncpg.connect(migrated_postgres.url)
    assert await trim(connection, scene.topic, {ONE_KEY: 5}, keep_seconds=3600) == 0
    assert await trim(connection, scene.topic, {ONE_KEY: 5}, keep_seconds=0, limit=2) == 2
    assert await trim(connection, scene.topic, {ONE_KEY: 3}, keep_seconds=0) == 1
    assert numbers(await (await scene.member(starts={ONE_KEY: 3})).read(2)) == [3, 4]
    await connection.close()
