"""The reading end of the log on Kafka: one member of a consumer group, offsets kept by the caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from shared.eventlog.kafka import AWAY, CLOSE_SECONDS, CONNECT_TIMEOUTS
from shared.eventlog.keeper import Keeper
from shared.eventlog.port import Assignment, LogUnavailable, OffsetLost, Stored

log = logging.getLogger(__name__)

SESSION_SECONDS: Final = 10.0  # a member that is silent for so long loses its partitions
REQUEST_SECONDS: Final = 15.0  # more than a rebalance may take
STALE_SECONDS: Final = 5.0  # a reader that gets nothing looks this often whether there was something to get
STALE_LOOKS: Final = 3  # and gives up its connection when it has missed records so often
NOTHING: Final = -1  # a partition that no topic has


@dataclass(frozen=True, slots=True, eq=False)
class _Membership:
    """A consumer in the group, and a second one outside that only asks for offsets.

    Brokers answer one connection's requests in order, so a fetch that waits for records would hold up the question.
    """

    consumer: Any
    asker: Any


class KafkaReader:
    """Joins again by itself whenever its connection turns out to be broken or stuck; poll says so once."""

    def __init__(self, connection: Mapping[str, Any], topic: str, group: str, member: str, timeout: float) -> None:
        self._arguments, self._topic, self._group, self._member = connection, topic, group, member
        self._timeout = timeout
        self._keeper = Keeper(self._connect, _leave, timeout)
        self._listener: Assignment | None = None
        self._current: _Membership | None = None
        self._held: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._refused: Exception | None = None
        self._quiet_since = time.monotonic()
        self._missed = 0

    async def start(self, listener: Assignment) -> None:
        self._listener = listener
        await self._keeper.start()

    async def stop(self) -> None:
        self._current, self._held = None, frozenset()
        await self._keeper.stop()

    async def poll(self, limit: int, wait: float) -> dict[int, list[Stored]]:
        until = time.monotonic() + wait
        membership = await self._keeper.get()
        await self._raise_refusal(membership)
        try:
            polled = await self._drain(membership, limit, {})
            while not polled and (left := until - time.monotonic()) > 0:
                polled = await self._await_records(membership, limit, left)
        except OffsetOutOfRangeError as error:
            raise await self._lost(membership, error) from error
        except NoOffsetForPartitionError:
            return {}  # just assigned, and not yet told where to read from
        except AWAY as error:
            raise await self._rejoin(membership, repr(error)) from error
        await self._watch_progress(membership, bool(polled))
        await self._raise_refusal(membership)
        return polled

    async def ends(self) -> dict[int, int]:
        membership = await self._keeper.get()
        partitions = [self._of(partition) for partition in sorted(self._held)]
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(self._timeout):
                found = await membership.asker.end_offsets(partitions)
        except AWAY as error:
            raise LogUnavailable(f"Kafka does not say where the log ends: {error!r}") from error
        return {at.partition: offset for at, offset in found.items()}

    async def commit(self, offsets: Mapping[int, int]) -> None:
        membership = self._current
        mine = {self._of(partition): offset for partition, offset in offsets.items() if partition in self._held}
        if membership is None or not mine:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await membership.consumer.commit(mine)
        except AWAY as error:  # only lag tools miss it
            log.debug("offsets not committed: %r", error)

    async def seek(self, offsets: Mapping[int, int]) -> None:
        membership = await self._keeper.get()
        for partition in self._held & offsets.keys():
            with contextlib.suppress(IllegalStateError):  # taken away meanwhile
                membership.consumer.seek(self._of(partition), offsets[partition])

    # --- Reading -----------------------------------------------------------------------------------------------------

    def _of(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    async def _drain(
        self, membership: _Membership, limit: int, polled: dict[int, list[Stored]]
    ) -> dict[int, list[Stored]]:
        """Adds what is already here, each partition by itself: together, the first one's backlog would be all of it."""
        for partition in sorted(self._held.difference(polled)):
            try:
                async with asyncio.timeout(self._timeout):  # a rebalance makes getmany wait whatever its timeout
                    found = await membership.consumer.getmany(self._of(partition), timeout_ms=0, max_records=limit)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError):
                if not polled:
                    raise
                continue  # it comes again with the next poll; what the others gave must not get lost over it
            for records in found.values():
                polled[partition] = [_stored(record) for record in records]
            await asyncio.sleep(0)  # getmany does not wait for what is here, and others of the loop have work too
        return {partition: records for partition, records in polled.items() if partition in self._held}

    async def _await_records(self, membership: _Membership, limit: int, wait: float) -> dict[int, list[Stored]]:
        self._changed.clear()
        held = [self._of(partition) for partition in self._held] or [self._of(NOTHING)]
        waiting = asyncio.ensure_future(
            membership.consumer.getmany(*held, timeout_ms=max(1, int(wait * 1000)), max_records=limit)
        )
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([waiting, changed], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                return {}
            first = {at.partition: [_stored(record) for record in records] for at, records in waiting.result().items()}
        finally:
            for task in (waiting, changed):
                task.cancel()
            await asyncio.wait([waiting, changed])
        return await self._drain(membership, limit, first) if first else {}

    async def _watch_progress(self, membership: _Membership, progress: bool) -> None:
        """Clients have been seen to hang after a broker's restart without any sign but that nothing comes."""
        now = time.monotonic()
        if progress:
            self._quiet_since, self._missed = now, 0
        elif now - self._quiet_since > STALE_SECONDS:
            self._quiet_since = now
            self._missed = self._missed + 1 if await self._is_behind(membership) else 0
            if self._missed >= STALE_LOOKS:
                self._missed = 0
                raise await self._rejoin(membership, "there are records, but none arrive")

    async def _is_behind(self, membership: _Membership) -> bool:
        ends = await self.ends()
        positions = {partition: await self._position(membership, partition) for partition in ends}
        return any(position is not None and position < ends[at] for at, position in positions.items())

    async def _position(self, membership: _Membership, partition: int) -> int | None:
        try:
            async with asyncio.timeout(self._timeout):
                position: int = await membership.consumer.position(self._of(partition))
        except (*AWAY, IllegalStateError):
            return None
        return position

    async def _lost(self, membership: _Membership, error: OffsetOutOfRangeError) -> Exception:
        ((at, wanted),) = error.args[0].items()
        try:
            async with asyncio.timeout(self._timeout):
                earliest = await membership.asker.beginning_offsets([at])
        except AWAY as away:
            return LogUnavailable(f"Kafka does not say where the log begins: {away!r}")
        return OffsetLost(at.partition, wanted, earliest[at])

    # --- Membership --------------------------------------------------------------------------------------------------

    async def _connect(self) -> _Membership:
        membership = _Membership(self._group_consumer(), self._consumer(client_id=f"{self._member}-offsets"))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUTS * REQUEST_SECONDS):
                await membership.consumer.start()
                await membership.asker.start()
        except AWAY as error:
            await _leave(membership)
            raise LogUnavailable(f"Kafka cannot be reached: {error!r}") from error
        except BaseException:
            await _leave(membership)
            raise
        self._current, self._quiet_since = membership, time.monotonic()
        membership.consumer.subscribe([self._topic], listener=_Listener(self, membership))
        return membership

    def _group_consumer(self) -> AIOKafkaConsumer:
        return self._consumer(
            client_id=self._member,
            group_id=self._group,
            enable_auto_commit=False,
            session_timeout_ms=int(SESSION_SECONDS * 1000),
            heartbeat_interval_ms=int(SESSION_SECONDS * 1000 / 5),
            partition_assignment_strategy=[RangePartitionAssignor],
        )

    def _consumer(self, **more: Any) -> AIOKafkaConsumer:
        request_ms = int(REQUEST_SECONDS * 1000)
        return AIOKafkaConsumer(**self._arguments, auto_offset_reset="none", request_timeout_ms=request_ms, **more)

    async def _rejoin(self, membership: _Membership, reason: str) -> LogUnavailable:
        """Lets go of the membership and of all partitions; the next poll comes with a new one."""
        log.warning("leaving the group %s to join it again: %s", self._group, reason)
        await self.taken_away(membership)
        self._current = None
        self._keeper.broken(membership)
        return LogUnavailable(f"the connection to Kafka broke: {reason}")

    async def _raise_refusal(self, membership: _Membership) -> None:
        """The listener could not say where to read from: its error is the caller's, and we join again."""
        refused, self._refused = self._refused, None
        if refused is not None:
            await self._rejoin(membership, f"the listener failed: {refused!r}")
            raise refused

    async def handed_over(self, membership: _Membership, partitions: frozenset[int]) -> None:
        """The group gave us these, and no others."""
        if membership is not self._current or self._listener is None or not partitions:
            return
        try:
            offsets = await self._listener.assigned(partitions)
            for partition in partitions:
                membership.consumer.seek(self._of(partition), offsets[partition])
        except Exception as refused:
            self._refused = refused
        else:
            self._held = partitions
        self._changed.set()

    async def taken_away(self, membership: _Membership) -> None:
        """The group takes back all we hold."""
        if membership is not self._current or self._listener is None:
            return
        held, self._held = self._held, frozenset()
        if held:
            await self._listener.revoked(held)
        self._changed.set()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes the group's decisions on, together with the membership they are about."""

    def __init__(self, reader: KafkaReader, membership: _Membership) -> None:
        self._reader, self._membership = reader, membership

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._reader.taken_away(self._membership)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._reader.handed_over(self._membership, frozenset(at.partition for at in assigned))


def _stored(record: Any) -> Stored:
    return Stored(record.partition, record.offset, record.key or b"", record.value or b"", record.headers)


async def _leave(membership: _Membership) -> None:
    """Leaves the group if the broker lets us say so in time; else by force."""
    for consumer in (membership.consumer, membership.asker):
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await consumer.stop()
        except AWAY:
            await _abandon(consumer)


async def _abandon(consumer: Any) -> None:
    """Ends what a consumer that does not stop still has running; aiokafka has no public way."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    tasks = [
        task
        for task in (
            getattr(coordinator, "_coordination_task", None),
            getattr(coordinator, "_heartbeat_task", None),
            getattr(coordinator, "_commit_refresh_task", None),
            getattr(fetcher, "_fetch_task", None),
            *getattr(fetcher, "_pending_tasks", ()),
        )
        if task is not None
    ]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await consumer._client.close()
