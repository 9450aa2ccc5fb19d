"""The reading end of the log in PostgreSQL: partitions by lease, records by query, woken by NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import asyncpg

from shared.eventlog.keeper import Keeper
from shared.eventlog.leases import Share, share
from shared.eventlog.port import Assignment, LogUnavailable, OffsetLost, Stored
from shared.eventlog.postgres import APPENDED, AWAY, NOW, close, connect, unpack

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 6.0
BEAT_SECONDS: Final = 1.5
HEART_SECONDS: Final = 3.0  # that one beat may take
LOOK_SECONDS: Final = 0.5  # how often a waiting poll looks without being woken
FETCH_BATCHES: Final = 256  # of one partition at a time
FETCH_BYTES: Final = 256 * 1024  # as stored; the batch that passes the bound is read whole
REGROUP: Final = "throughline_log_groups"  # the channel; what is said on it is group/topic

FETCH: Final = """
-- For each wanted partition its end, and whole batches from the one that holds the position.
select w.partition, p.next_offset as end_offset, b.base_offset, b.records
from unnest($2::int[], $3::bigint[]) as w (partition, position)
join log_partitions p on p.topic = $1 and p.partition = w.partition
left join lateral (
    select sized.base_offset, sized.records
    from (
        select batch.*, sum(octet_length(batch.records)) over (order by batch.base_offset)
            - octet_length(batch.records) as bytes_before
        from (
            select l.base_offset, l.records
            from log_batches l
            where l.topic = $1 and l.partition = w.partition and l.next_offset > w.position
                and l.base_offset >= coalesce((
                    select max(s.base_offset) from log_batches s
                    where s.topic = $1 and s.partition = w.partition and s.base_offset <= w.position
                ), 0)
            order by l.base_offset
            limit $4
        ) batch
    ) sized
    where sized.bytes_before < $5
) b on true
order by w.partition, b.base_offset
"""

ENDS: Final = "select partition, next_offset from log_partitions where topic = $1 and partition = any($2::int[])"

ALONE: Final = "select pg_advisory_xact_lock(hashtextextended('log/' || $1 || '/' || $2, 0))"

JOIN: Final = f"""
-- Says that the member lives; answers whether it is new.
insert into log_members (consumers, topic, member, expires_at) values ($1, $2, $3, {NOW} + $4)
on conflict (consumers, topic, member) do update set expires_at = excluded.expires_at
returning xmax = 0
"""

BURY: Final = f"delete from log_members where consumers = $1 and topic = $2 and expires_at < {NOW}"

MEMBERS: Final = "select member from log_members where consumers = $1 and topic = $2"

PARTITIONS: Final = "select partition from log_partitions where topic = $1"

OWNERS: Final = f"""
-- A lease that ran out is still its member's until somebody takes it.
select partition, member from log_leases
where consumers = $1 and topic = $2 and (expires_at > {NOW} or member = $3)
"""

HOLD: Final = f"""
insert into log_leases (consumers, topic, partition, member, expires_at)
select $1, $2, partition, $3, {NOW} + $4 from unnest($5::int[]) as partition
on conflict (consumers, topic, partition) do update set member = excluded.member, expires_at = excluded.expires_at
"""

RELEASE: Final = """
delete from log_leases where consumers = $1 and topic = $2 and member = $3 and partition = any($4::int[])
"""

LEAVE: Final = """
with leases as (delete from log_leases where consumers = $1 and topic = $2 and member = $3)
delete from log_members where consumers = $1 and topic = $2 and member = $3
"""

TELL: Final = f"select pg_notify('{REGROUP}', $1 || '/' || $2)"


class _Held:
    """A partition in our hands: records that are read but not yet handed out, and the offset after them."""

    __slots__ = ("position", "records")

    def __init__(self, position: int) -> None:
        self.position = position
        self.records: list[Stored] = []

    def seek(self, offset: int) -> None:
        self.position, self.records = offset, []

    def take(self, limit: int) -> list[Stored]:
        taken, self.records = self.records[:limit], self.records[limit:]
        return taken


class PostgresReader:
    """Two connections: one reads, the other renews the leases and listens."""

    def __init__(self, url: str, topic: str, group: str, member: str, timeout: float) -> None:
        self._url, self._topic, self._group, self._member = url, topic, group, member
        self._timeout = timeout
        self._reading: Keeper[asyncpg.Connection] = Keeper(self._connect_reading, close, timeout)
        self._heart: Keeper[asyncpg.Connection] = Keeper(self._connect_heart, close, HEART_SECONDS)
        self._one_query = asyncio.Lock()
        self._held: dict[int, _Held] = {}
        self._leased_until = 0.0
        self._listener: Assignment | None = None
        self._refused: Exception | None = None
        self._wake, self._regroup = asyncio.Event(), asyncio.Event()
        self._membership: asyncio.Task[None] | None = None

    async def start(self, listener: Assignment) -> None:
        self._listener = listener
        await self._heart.start()
        await self._reading.start()
        self._membership = asyncio.create_task(self._belong())

    async def stop(self) -> None:
        if self._membership is not None:
            self._membership.cancel()
            await asyncio.wait([self._membership])
        self._held.clear()
        await self._reading.stop()
        await self._heart.stop()
        await self._say_goodbye()

    async def poll(self, limit: int, wait: float) -> dict[int, list[Stored]]:
        until = time.monotonic() + wait
        while True:
            self._raise_refusal()
            self._heart.check()
            self._wake.clear()
            await self._fill()
            polled = {partition: held.take(limit) for partition, held in self._held.items() if held.records}
            left = until - time.monotonic()
            if polled or left <= 0:
                return polled
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self._wake.wait()

    async def ends(self) -> dict[int, int]:
        held = sorted(self._held)
        rows = await self._query(ENDS, self._topic, held) if held else []
        return {row["partition"]: row["next_offset"] for row in rows}

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Nothing: there are no lag tools that would look here."""

    async def seek(self, offsets: Mapping[int, int]) -> None:
        for partition in self._held.keys() & offsets.keys():
            self._held[partition].seek(offsets[partition])

    # --- Reading -----------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Reads on where nothing is left to hand out. OffsetLost if what comes next is gone."""
        wanted = {partition: held for partition, held in self._held.items() if not held.records}
        asked = {partition: held.position for partition, held in wanted.items()}
        if not asked:
            return
        rows = await self._query(FETCH, self._topic, list(asked), list(asked.values()), FETCH_BATCHES, FETCH_BYTES)
        lost: list[OffsetLost] = []
        for partition, found in groupby(rows, key=itemgetter("partition")):
            held, position = wanted[partition], asked[partition]
            if self._held.get(partition) is not held or held.position != position:
                continue  # taken away, or told to read elsewhere, while we asked
            try:
                held.records = list(_records(partition, position, list(found)))
            except OffsetLost as gone:
                lost.append(gone)
            else:
                held.position = held.records[-1].offset + 1 if held.records else position
        if lost:
            raise lost[0]

    async def _query(self, statement: str, *arguments: Any) -> list[Any]:
        connection = await self._reading.get()
        try:
            async with self._one_query, asyncio.timeout(self._timeout):
                rows: list[Any] = await connection.fetch(statement, *arguments)
        except AWAY as error:
            self._reading.broken(connection)
            raise LogUnavailable(f"PostgreSQL did not answer: {error!r}") from error
        return rows

    async def _connect_reading(self) -> asyncpg.Connection:
        connection = await connect(
            self._url,
            self._timeout,
            application_name="throughline log reader",
            enable_seqscan="off",  # on young tables PostgreSQL would keep a plan that reads all of them
            jit="off",
        )
        connection.add_termination_listener(self._reading.broken)
        return connection

    async def _connect_heart(self) -> asyncpg.Connection:
        connection = await connect(self._url, HEART_SECONDS, application_name="throughline log member")
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await connection.add_listener(APPENDED, self._heard)
                await connection.add_listener(REGROUP, self._heard)
        except AWAY as error:
            await close(connection)
            raise LogUnavailable(f"PostgreSQL does not let us listen: {error!r}") from error
        connection.add_termination_listener(self._heart.broken)
        return connection

    def _heard(self, _connection: Any, _pid: int, channel: str, said: str) -> None:
        if channel == APPENDED and said == self._topic:
            self._wake.set()
        elif channel == REGROUP and said == f"{self._group}/{self._topic}":
            self._regroup.set()

    def _raise_refusal(self) -> None:
        """The listener could not say where to read from: its error is the caller's; the next beat asks it again."""
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    # --- Membership --------------------------------------------------------------------------------------------------

    async def _belong(self) -> None:
        """Beats while we live. Whoever cannot beat for as long as a lease lasts has lost its partitions."""
        while True:
            try:
                await self._beat()
            except LogUnavailable as away:
                if time.monotonic() >= self._leased_until:
                    await self._revoke(frozenset(self._held), f"leases not renewed: {away}")
            except Exception as error:
                log.exception("the log's group failed in an unforeseen way")
                self._refused = error
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._regroup.wait()
            self._regroup.clear()

    async def _beat(self) -> None:
        connection = await self._heart.get()
        began = time.monotonic()
        try:
            async with asyncio.timeout(HEART_SECONDS), connection.transaction():
                mine = await self._renew(connection)
        except AWAY as error:
            self._heart.broken(connection)
            raise LogUnavailable(f"leases not renewed: {error!r}") from error
        self._leased_until = began + LEASE_SECONDS
        await self._revoke(frozenset(self._held) - mine.held, "shared with others")
        if mine.release:
            await self._give_back(connection, mine.release)
        await self._assign(mine.held - self._held.keys())

    async def _renew(self, connection: asyncpg.Connection) -> Share:
        """One member at a time counts who lives, and takes its share."""
        us, lease = (self._group, self._topic), int(LEASE_SECONDS * 1_000_000)
        await connection.execute(ALONE, *us)
        if await connection.fetchval(JOIN, *us, self._member, lease):
            await connection.execute(TELL, *us)
        await connection.execute(BURY, *us)
        members = [row["member"] for row in await connection.fetch(MEMBERS, *us)]
        partitions = [row["partition"] for row in await connection.fetch(PARTITIONS, self._topic)]
        owners = {row["partition"]: row["member"] for row in await connection.fetch(OWNERS, *us, self._member)}
        mine = share(self._member, members, partitions, owners)
        await connection.execute(HOLD, *us, self._member, lease, sorted(mine.held))
        return mine

    async def _give_back(self, connection: asyncpg.Connection, partitions: Iterable[int]) -> None:
        """Only after the listener has let go of them."""
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                await connection.execute(RELEASE, self._group, self._topic, self._member, sorted(partitions))
                await connection.execute(TELL, self._group, self._topic)
        except AWAY as error:
            self._heart.broken(connection)
            raise LogUnavailable(f"leases not given back: {error!r}") from error

    async def _revoke(self, partitions: frozenset[int], reason: str) -> None:
        if not partitions or self._listener is None:
            return
        log.info("giving up partitions %s of %s: %s", sorted(partitions), self._topic, reason)
        for partition in partitions:
            self._held.pop(partition, None)
        await self._listener.revoked(partitions)

    async def _assign(self, partitions: frozenset[int]) -> None:
        if not partitions or self._listener is None:
            return
        try:
            offsets = await self._listener.assigned(partitions)
        except Exception as refused:
            self._refused = refused
        else:
            self._held |= {partition: _Held(offsets[partition]) for partition in partitions}
        self._wake.set()

    async def _say_goodbye(self) -> None:
        """So that the others need not wait until our leases run out."""
        with contextlib.suppress(*AWAY, LogUnavailable):
            connection = await connect(self._url, HEART_SECONDS)
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await connection.execute(LEAVE, self._group, self._topic, self._member)
                    await connection.execute(TELL, self._group, self._topic)
            finally:
                await close(connection)


def _records(partition: int, position: int, rows: list[Any]) -> Iterator[Stored]:
    """The records from the position on; OffsetLost when they do not begin there."""
    begins, end = rows[0]["base_offset"], rows[0]["end_offset"]
    if begins is None and position != end:
        raise OffsetLost(partition, position, end)
    if begins is not None and begins > position:
        raise OffsetLost(partition, position, begins)
    for row in rows if begins is not None else ():
        for offset, record in enumerate(unpack(row["records"]), row["base_offset"]):
            if offset >= position:
                yield Stored(partition, offset, record.key, record.value, record.headers)
