"""Where the log has been read to, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

from services.metrics.reader.database import Snapshot

# Every partition that the stitcher reads.
PARTITIONS = """
    select topic, partition, next_offset, end_offset, as_of, owner, updated_at
    from partitions order by topic, partition
"""

# What was refused, by the topic it lies in and its reason.
REFUSED = "select topic, reason, sum(n)::bigint as n from dead_letter_counts group by 1, 2 order by 1, 2"


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition's position; ``as_of`` and ``updated_at`` in microseconds, 0 for never."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    as_of: int
    owner: str
    updated_at: int


async def partitions(snapshot: Snapshot) -> list[PartitionRow]:
    """All partitions, by topic."""
    return [PartitionRow(**dict(row)) for row in await snapshot.fetch(PARTITIONS)]


async def refused(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    """By topic and reason how many letters there are."""
    found: dict[str, dict[str, int]] = {}
    for row in await snapshot.fetch(REFUSED):
        found.setdefault(row["topic"], {})[row["reason"]] = row["n"]
    return found
