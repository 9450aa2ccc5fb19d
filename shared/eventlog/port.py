"""The log: append a batch, read a partition from an offset, know the end. Two adapters pass one contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class LogUnavailable(Exception):
    """The log did not acknowledge in time: it may or may not have the records. Try again later."""


class OffsetLost(Exception):
    """The wanted offset is no longer in the log: records between ``wanted`` and ``earliest`` are gone."""

    def __init__(self, partition: int, wanted: int, earliest: int) -> None:
        super().__init__(f"partition {partition}: offset {wanted} wanted, the earliest left is {earliest}")
        self.partition, self.wanted, self.earliest = partition, wanted, earliest


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is appended: the key decides the partition (murmur2, as Kafka's default partitioner)."""

    key: bytes
    value: bytes
    headers: Headers = ()


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record as read back. Offsets of a partition rise; the first is 0; gaps are possible on Kafka."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers = ()


class Appender(Protocol):
    """The writing end of the log; safe for concurrent callers."""

    async def start(self) -> None: ...

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        """Returns when every record is durable; raises LogUnavailable within the adapter's timeout otherwise.

        Concurrent calls share appends: one in flight per partition takes with it whatever came meanwhile.
        """

    async def stop(self) -> None:
        """Waits for what is in flight, at most the adapter's timeout."""


class Assignment(Protocol):
    """Told by the reader when the group gives partitions to this member or takes them away."""

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Answers the offset to read from, for each newly assigned partition."""

    async def revoked(self, partitions: frozenset[int]) -> None: ...


class Reader(Protocol):
    """The reading end: one member of a group on one topic, offsets kept by the caller."""

    async def start(self, listener: Assignment) -> None: ...

    async def poll(self, limit: int, wait: float) -> dict[int, list[Stored]]:
        """At most ``limit`` records of a partition, in offset order, waiting at most ``wait`` seconds for the first."""

    async def ends(self) -> dict[int, int]:
        """For each assigned partition the offset that the next appended record will get, or more."""

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Shows the next offsets to lag tools; never read back by us."""

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Continue reading from these offsets (after a failed batch)."""

    async def stop(self) -> None: ...


class Admin(Protocol):
    """Topics."""

    async def ensure(self, topics: Mapping[str, int]) -> None:
        """Creates what is missing with this many partitions; may run at any time and from several processes."""

    async def partitions(self, topic: str) -> int: ...
