"""The log in PostgreSQL, for one machine: the appending end, topics, retention. The reading end is in postgres_reader.

One row of `log_batches` is one partition's part of one write. Writes to a partition queue up for its row in
`log_partitions`, so offsets become visible in order and a reader never passes one that commits late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import asyncpg
import msgspec
import zstandard

from shared.eventlog.group_commit import Call, GroupCommit, Limits
from shared.eventlog.keeper import Keeper
from shared.eventlog.partition import partition_of
from shared.eventlog.port import LogUnavailable, Record

AWAY: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what it raises on a connection whose server has just been killed
    OSError,
    TimeoutError,
)
CLOSE_SECONDS: Final = 2.0
APPENDED: Final = "throughline_log"  # the channel; what is said on it is the topic
NOW: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
T = TypeVar("T")

APPEND: Final = f"""
-- Locks the partitions in order, gives out the next offsets, stores the batches, and wakes the readers.
with wanted as (
    select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[]) as w (topic, partition, n, records)
), locked as materialized (
    select p.topic, p.partition, p.next_offset as base, p.next_offset + w.n as next, w.records
    from log_partitions p join wanted w using (topic, partition)
    order by p.topic, p.partition
    for update of p
), moved as (
    update log_partitions p set next_offset = l.next
    from locked l where p.topic = l.topic and p.partition = l.partition
), stored as (
    insert into log_batches (topic, partition, base_offset, next_offset, appended_at, records)
    select topic, partition, base, next, {NOW}, records from locked
)
select pg_notify('{APPENDED}', topic) from wanted group by topic
"""

CREATE: Final = """
insert into log_partitions (topic, partition)
select $1, partition from generate_series(0, $2::int - 1) as partition
where not exists (select from log_partitions where topic = $1)
"""

COUNT: Final = "select count(*)::int from log_partitions where topic = $1"

TRIM: Final = f"""
-- The oldest batches below the given offsets that are old enough.
delete from log_batches b
using (
    select o.topic, o.partition, o.base_offset
    from unnest($2::int[], $3::bigint[]) as w (partition, below)
    join log_batches o on o.topic = $1 and o.partition = w.partition and o.next_offset <= w.below
    where o.appended_at < {NOW} - $4::bigint
    order by o.partition, o.base_offset
    limit $5
) old
where b.topic = old.topic and b.partition = old.partition and b.base_offset = old.base_offset
"""

_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(list[Record])
_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


def pack(records: Sequence[Record]) -> bytes:
    return _compressor.compress(_packer.encode(records))


def unpack(packed: bytes) -> list[Record]:
    return _unpacker.decode(_decompressor.decompress(packed))


async def connect(url: str, seconds: float, **settings: str) -> asyncpg.Connection:
    """A connection whose statements end within so many seconds, and which leaves no lock behind when we freeze."""
    limit = str(int(seconds * 1000))
    limits = {"statement_timeout": limit, "idle_in_transaction_session_timeout": limit}
    try:
        async with asyncio.timeout(seconds):
            return await asyncpg.connect(url, server_settings=limits | settings)
    except AWAY as error:
        raise LogUnavailable(f"PostgreSQL cannot be reached: {error!r}") from error


async def close(connection: asyncpg.Connection) -> None:
    """Politely if the server answers, else by force."""
    with contextlib.suppress(*AWAY):
        await connection.close(timeout=CLOSE_SECONDS)
    connection.terminate()


class PostgresAppender:
    """One statement and one commit for all partitions that a write touches."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._timeout = url, limits.timeout
        self._keeper: Keeper[asyncpg.Connection] = Keeper(self._connect, close, limits.timeout)
        self._commit = GroupCommit(self._write, limits)
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        await self._keeper.start()

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        self._keeper.check()
        await self._commit.append(topic, records)

    async def stop(self) -> None:
        await self._commit.stop()
        await self._keeper.stop()

    async def _connect(self) -> asyncpg.Connection:
        connection = await connect(self._url, self._timeout, application_name="throughline log appender")
        connection.add_termination_listener(self._keeper.broken)
        return connection

    async def _write(self, calls: Sequence[Call]) -> None:
        connection = await self._keeper.get()
        try:
            async with asyncio.timeout(self._timeout):
                for topic in {call.topic for call in calls} - self._partitions.keys():
                    self._partitions[topic] = await count_partitions(connection, topic)
                await connection.fetch(APPEND, *_columns(calls, self._partitions))
        except AWAY as error:
            self._keeper.broken(connection)
            raise LogUnavailable(f"PostgreSQL did not acknowledge: {error!r}") from error


def _columns(
    calls: Sequence[Call], partitions: Mapping[str, int]
) -> tuple[list[str], list[int], list[int], list[bytes]]:
    """What is appended to each partition, as columns."""
    lanes: dict[tuple[str, int], list[Record]] = {}
    for call in calls:
        width = partitions[call.topic]
        for record in call.records:
            lanes.setdefault((call.topic, partition_of(record.key, width)), []).append(record)
    topics, numbers = [topic for topic, _ in lanes], [number for _, number in lanes]
    return topics, numbers, [len(records) for records in lanes.values()], [pack(records) for records in lanes.values()]


async def count_partitions(connection: asyncpg.Connection, topic: str) -> int:
    """LogUnavailable when there is no such topic."""
    count: int = await connection.fetchval(COUNT, topic)
    if not count:
        raise LogUnavailable(f"topic {topic} does not exist: run `throughline migrate`")
    return count


class PostgresAdmin:
    """Topics are rows of `log_partitions`."""

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self._url, self._timeout = url, timeout

    async def ensure(self, topics: Mapping[str, int]) -> None:
        async def create(connection: asyncpg.Connection) -> None:
            missing = [one for one in sorted(topics.items()) if not await connection.fetchval(COUNT, one[0])]
            if not missing:  # the lock waits for all who append, even for one who has stopped in the middle
                return
            async with connection.transaction():
                await connection.execute("lock table log_partitions in share row exclusive mode")
                await connection.executemany(CREATE, missing)

        await self._run(create)

    async def partitions(self, topic: str) -> int:
        return await self._run(lambda connection: count_partitions(connection, topic))

    async def _run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        connection = await connect(self._url, self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                return await work(connection)
        except AWAY as error:
            raise LogUnavailable(f"PostgreSQL did not answer: {error!r}") from error
        finally:
            await close(connection)


async def trim(
    connection: asyncpg.Connection, topic: str, below: Mapping[int, int], keep_seconds: float, limit: int = 1000
) -> int:
    """Deletes at most ``limit`` batches that lie below these offsets and are older than that; answers how many.

    Whoever still wants to read them gets OffsetLost, so give offsets that every group has behind it.
    """
    keep = int(keep_seconds * 1_000_000)
    done: str = await connection.execute(TRIM, topic, list(below), list(below.values()), keep, limit)
    return int(done.rsplit(maxsplit=1)[-1])
