"""The shell: records of the log -> one transaction a batch -> the next offsets, fenced."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from services.stitcher.errors import Misconfigured, Paused, Poison, Stale, Stuck, Transient, Unavailable
from services.stitcher.horizon import Horizon
from services.stitcher.ports import DeadLetter, Position
from services.stitcher.store import PostgresUnit, Store
from services.stitcher.store.unit import Durations
from services.stitcher.telemetry import Telemetry
from shared.eventlog.port import LogUnavailable, OffsetLost, Reader, Stored

log = structlog.get_logger(__name__)

BEAT: Final = 0.15  # seconds: as_of moves at least so often
SAMPLE: Final = 0.05  # seconds: the log's end is asked for at most so often
COMMIT: Final = 1.0  # seconds: offsets are shown to lag tools at most so often
HANDOVER: Final = 5.0  # seconds that a batch in flight may take to end before partitions are given away
TRANSACTION: Final = 4.0  # seconds that a batch should take at most: others wait for its locks, partitions for its end
LEAST: Final = 5_000  # records that a batch may have in any case


class _Gone(Exception):
    """Partitions of the batch in hand were taken away: drop it."""


NO_RECORDS_FAULT: Final = (
    Stale,
    Stuck,
    Misconfigured,
    Unavailable,
    Paused,
    Transient,
    _Gone,
    LogUnavailable,
    OffsetLost,
)


class Task(Protocol):
    """What a loop does with its records."""

    def prepare(self, records: Sequence[Stored]) -> tuple[Any, list[DeadLetter]]:
        """Decodes; what cannot be decoded comes back as dead letters."""

    async def apply(self, unit: PostgresUnit, prepared: Any, clock: int, now: int) -> Any:
        """Everything but the offsets, within the unit. Poison, or any error that is none of ours: a record's fault."""

    def applied(self, outcome: Any) -> None:
        """It is committed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a loop works; see `settings.StitcherSettings`."""

    batch: int = 80_000
    linger: float = 0.02
    in_a_row: int = 100
    retries: int = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in order of partition and offset, what the task made of them, and the epochs they were read under."""

    records: Sequence[Stored]
    prepared: Any
    letters: Sequence[DeadLetter]
    epochs: Mapping[int, int]


@dataclass(slots=True)
class Held:
    """A partition in our hands."""

    epoch: int
    next: int


@dataclass(slots=True)
class Progress:
    """When the loop last got on, or had nothing to do; in seconds of a monotonic clock."""

    at: float = field(default_factory=time.monotonic)

    def made(self) -> None:
        self.at = time.monotonic()

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


class Loop:
    """One member of the group on one topic. ``now`` answers microseconds; ``rejoining`` is awaited before the group is
    joined again after somebody else took a partition."""

    def __init__(
        self, topic: str, store: Store, task: Task, *, open_reader: Callable[[], Reader], owner: str, pace: Pace,
        telemetry: Telemetry, now: Callable[[], int], rejoining: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.topic = topic
        self._store, self._open_reader, self._task, self._owner = store, open_reader, task, owner
        self._pace, self._telemetry, self._now, self._rejoining = pace, telemetry, now, rejoining
        self._held: dict[int, Held] = {}
        self._ends: dict[int, int] = {}
        self._ahead: asyncio.Task[Batch] | None = None  # the next batch, read while the one in hand is written
        self._limit = min(LEAST, pace.batch)
        self._horizon = Horizon()
        self._sampled = self._beaten = self._shown = 0.0
        self._in_a_row = 0
        self._in_flight: asyncio.Future[None] | None = None
        self._stopping = asyncio.Event()
        self._reader: Reader | None = None
        self.progress = Progress()
        self.trouble: str | None = None

    # --- The reader tells us -----------------------------------------------------------------------------------------

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        claimed = await self._store.claim(self.topic, partitions, self._owner)
        self._held |= {partition: Held(one.epoch, one.next_offset) for partition, one in claimed.items()}
        self._horizon.forget()
        self._telemetry.rebalances.labels(self.topic).inc()
        log.info("partitions assigned", topic=self.topic, partitions=sorted(partitions))
        return {partition: one.next_offset for partition, one in claimed.items()}

    async def revoked(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self._held.pop(partition, None)
            self._telemetry.forget(self.topic, partition)
        self._horizon.forget()
        if self._in_flight is not None:
            await asyncio.wait([self._in_flight], timeout=HANDOVER)
        log.info("partitions revoked", topic=self.topic, partitions=sorted(partitions))

    # --- Running -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends `run` after the batch in hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`; raises Stuck or Misconfigured when somebody must look."""
        try:
            while not self._stopping.is_set():
                await self._join()
                try:
                    await self._follow()
                except Stale as stale:
                    self._telemetry.fenced.labels(self.topic).inc()
                    log.warning("fenced: joining again", topic=self.topic, reason=str(stale))
                    await self._leave()
                    await self._rejoining()
        finally:
            await self._leave()

    async def _join(self) -> None:
        if self._reader is None:
            self._reader = self._open_reader()
            await self._until_there(self._reader.start, self)

    async def _leave(self) -> None:
        await self._drop_ahead()
        reader, self._reader = self._reader, None
        self._held.clear()
        self._horizon.forget()
        if reader is not None:
            await reader.stop()

    async def _until_there(self, call: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        while not self._stopping.is_set():
            try:
                await call(*arguments)
                return
            except (LogUnavailable, Unavailable) as error:
                await self._wait_for(error)

    async def _follow(self) -> None:
        """Batch after batch, as long as the partitions are ours."""
        while not self._stopping.is_set():
            try:
                batch = await self._next()
                if batch.records:
                    self._read_ahead(batch)
                    await self._take(batch)
                    await self._show_offsets()
                elif time.monotonic() - self._beaten >= BEAT:
                    await self._beat()
                self.trouble = None
            except _Gone:
                await self._until_there(self._resume)
            except (LogUnavailable, Unavailable, Transient, Paused) as error:
                if isinstance(error, Paused):
                    self.progress.made()
                await self._wait_for(error)
                await self._until_there(self._resume)
            except OffsetLost as lost:
                raise Stuck(
                    f"the log no longer has what was to be stitched next: {lost}. Restore it, or move next_offset of "
                    f"topic {self.topic} in the table partitions to {lost.earliest} and accept the loss"
                ) from lost

    async def _wait_for(self, error: Exception) -> None:
        self.trouble = f"{type(error).__name__}: {error}"
        log.warning("waiting", topic=self.topic, reason=self.trouble)
        await asyncio.sleep(0.2 + 0.3 * random.random())

    async def _resume(self) -> None:
        """After a transaction whose outcome is unknown: go on from what the tables say, if that is still ours."""
        await self._drop_ahead()
        if self._reader is None or not self._held:
            return
        standing = await self._store.positions(self.topic, self._held)
        for partition, held in self._held.items():
            if standing[partition].epoch != held.epoch:
                raise Stale(f"partition {partition} has another owner")
            held.next = standing[partition].next_offset
        await self._reader.seek({partition: held.next for partition, held in self._held.items()})

    # --- Reading ahead -----------------------------------------------------------------------------------------------

    def _read_ahead(self, batch: Batch) -> None:
        """Reads the next batch while this one is written, if it is so full that more must be waiting; to read ahead of
        small ones would only make them smaller."""
        if len(batch.records) >= self._limit // 2:
            self._ahead = asyncio.create_task(self._read())

    async def _next(self) -> Batch:
        """The next batch; _Gone if partitions came or went since it was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return await self._read()
        batch = await ahead
        if batch.epochs != self._epochs():
            raise _Gone("partitions of the batch that was read ahead")
        return batch

    async def _drop_ahead(self) -> None:
        """Whoever calls this seeks: what was read ahead is read again."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)

    # --- Gathering a batch -------------------------------------------------------------------------------------------

    async def _read(self) -> Batch:
        """Gathers and decodes; the latter in a thread, so that a transaction goes on meanwhile."""
        records, epochs = await self._gathered(), self._epochs()
        started = time.perf_counter()
        prepared, letters = await asyncio.to_thread(self._task.prepare, records)
        self._telemetry.step("decode", time.perf_counter() - started)
        return Batch(records, prepared, letters, epochs)

    def _epochs(self) -> dict[int, int]:
        return {partition: held.epoch for partition, held in self._held.items()}

    async def _gathered(self) -> list[Stored]:
        """The next records of all partitions, in order of partition and offset; empty after a beat of silence."""
        reader = self._reader
        assert reader is not None
        await self._sample(reader)
        started = time.perf_counter()
        limit, partitions = self._limit, max(1, len(self._held))
        share = max(200, limit // partitions)
        polled = await reader.poll(share, BEAT)
        total = sum(map(len, polled.values()))
        lingered = False
        while 0 < total < limit and not self._stopping.is_set():
            full = any(len(records) >= share for records in polled.values())
            if not full and lingered:
                break
            lingered = not full
            left = max(200, (limit - total) // partitions)
            more = await reader.poll(left, 0 if full else self._pace.linger)
            if not more:
                break
            for partition, records in more.items():
                polled.setdefault(partition, []).extend(records)
            total = sum(map(len, polled.values()))
        self._telemetry.step("poll", time.perf_counter() - started)
        return self._ours(polled)

    def _ours(self, polled: Mapping[int, Sequence[Stored]]) -> list[Stored]:
        """What belongs to partitions that we still hold, from where we stand on."""
        return [
            record
            for partition, records in sorted(polled.items())
            if partition in self._held
            for record in records
            if record.offset >= self._held[partition].next
        ]

    async def _sample(self, reader: Reader) -> None:
        if time.monotonic() - self._sampled < SAMPLE:
            return
        now = self._now()
        self._ends = await reader.ends()
        self._horizon.sample(now, {p: end for p, end in self._ends.items() if p in self._held})
        self._sampled = time.monotonic()
        lag = 0
        for partition, held in self._held.items():
            behind = max(0, self._ends.get(partition, held.next) - held.next)
            self._telemetry.lag.labels(self.topic, str(partition)).set(behind)
            lag += behind
        if lag == 0:
            self.progress.made()

    # --- Taking it in ------------------------------------------------------------------------------------------------

    async def _take(self, batch: Batch) -> None:
        """Commits a batch; a record that breaks it is found by halving, and buried."""
        try:
            await self._settle(batch)
        except NO_RECORDS_FAULT:
            raise
        except Exception as error:
            records = batch.records
            if len(records) == 1:
                return await self._bury(batch, error)
            log.warning("a record breaks its batch: halving it", topic=self.topic, records=len(records))
            half = len(records) // 2
            for part in (records[:half], records[half:]):
                await self._take(Batch(part, *self._task.prepare(part), batch.epochs))

    async def _bury(self, batch: Batch, error: Exception) -> None:
        (record,) = batch.records
        poison = error if isinstance(error, Poison) else Poison("unstitchable", f"{type(error).__name__}: {error}")
        log.error("dead letter", topic=self.topic, partition=record.partition, offset=record.offset,
                  reason=poison.reason, exc_info=None if isinstance(error, Poison) else error)  # fmt: skip
        nothing, _ = self._task.prepare([])
        await self._settle(Batch(batch.records, nothing, [letter(record, poison)], batch.epochs))

    async def _settle(self, batch: Batch) -> None:
        """Commits, unless there are too many dead letters in a row."""
        run, worst = run_of_letters(batch.records, batch.letters, self._in_a_row)
        if worst >= self._pace.in_a_row:
            last = batch.letters[-1]
            raise Stuck(
                f"nothing can be made of {worst} records in a row of topic {self.topic}: stopped rather than drain the "
                f"log into the dead letters. The last reason: {last.reason}: {last.message}"
            )
        await self._commit(batch)
        self._in_a_row = run

    async def _commit(self, batch: Batch) -> None:
        """One transaction, tried again after deadlocks."""
        for attempt in range(self._pace.retries):
            try:
                await self._shielded(self._transact(batch))
                return
            except Transient as error:
                self._telemetry.retries.labels(self.topic).inc()
                if attempt + 1 == self._pace.retries:
                    raise
                log.info("trying the batch again", topic=self.topic, reason=str(error))
                await asyncio.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))

    async def _shielded(self, transaction: Any) -> None:
        """A transaction that is cancelled in the middle would leave its locks behind: let it end."""
        self._in_flight = asyncio.ensure_future(transaction)
        try:
            await asyncio.shield(self._in_flight)
        except asyncio.CancelledError:
            await asyncio.wait([self._in_flight])
            raise
        finally:
            self._in_flight = None

    async def _transact(self, batch: Batch) -> None:
        positions = self._positions(batch)
        now, started = self._now(), time.perf_counter()
        durations = Durations(float)
        async with self._store.unit(durations) as unit:
            clock = await unit.fence(self.topic, positions)
            if batch.letters:
                await unit.bury(self.topic, batch.letters, now)
            outcome = await self._task.apply(unit, batch.prepared, clock, now)
        self._move(positions)
        took = time.perf_counter() - started
        self._limit = limit_after(len(batch.records), took, self._pace.batch)
        self._telemetry.batch(self.topic, len(batch.records), took, durations)
        for one in batch.letters:
            self._telemetry.dead_letters.labels(self.topic, one.reason).inc()
        self._task.applied(outcome)
        self.progress.made()

    def _positions(self, batch: Batch) -> dict[int, Position]:
        """Every partition's move, that of idle ones too: so as_of moves everywhere."""
        last: dict[int, int] = {}
        for record in batch.records:
            last[record.partition] = record.offset
        for partition in last:
            if partition not in self._held or self._held[partition].epoch != batch.epochs[partition]:
                raise _Gone(f"partition {partition}")
        found = {}
        for partition, held in self._held.items():
            after = last[partition] + 1 if partition in last else held.next
            end = max(after, self._ends.get(partition, after))
            found[partition] = Position(held.epoch, held.next, after, end, self._horizon.passed(partition, after))
        return found

    def _move(self, positions: Mapping[int, Position]) -> None:
        self._beaten = time.monotonic()
        for partition, position in positions.items():
            held = self._held.get(partition)
            if held is not None and held.epoch == position.epoch:
                held.next = position.next
            if position.as_of is not None:
                self._telemetry.as_of(self.topic, partition, position.as_of)

    async def _beat(self) -> None:
        """Nothing came: only as_of moves."""
        if self._held:
            await self._commit(Batch([], *self._task.prepare([]), self._epochs()))

    async def _show_offsets(self) -> None:
        if time.monotonic() - self._shown >= COMMIT and self._reader is not None:
            self._shown = time.monotonic()
            await self._reader.commit({partition: held.next for partition, held in self._held.items()})


def limit_after(records: int, seconds: float, most: int) -> int:
    """How many records the next batch may have, when a batch of so many took so long."""
    return min(most, max(LEAST, int(records * TRANSACTION / seconds)))


def letter(record: Stored, poison: Poison) -> DeadLetter:
    """A dead letter of a record that we could not take; its source is what the log's headers say."""
    source = next((value.decode("utf-8", "replace") for name, value in record.headers if name == "ce_source"), "")
    message = poison.message.replace("\x00", "")[:2000]
    return DeadLetter(record.partition, record.offset, source.replace("\x00", ""), poison.reason, message, record.value)


def run_of_letters(records: Sequence[Stored], letters: Sequence[DeadLetter], before: int) -> tuple[int, int]:
    """How many records in a row are dead letters: at the end of the batch, and at the worst; ``before``: until now."""
    dead = {(one.partition, one.offset) for one in letters}
    if not dead:
        return (0 if records else before), 0
    run = worst = before
    for record in records:
        run = run + 1 if (record.partition, record.offset) in dead else 0
        worst = max(worst, run)
    return run, worst
