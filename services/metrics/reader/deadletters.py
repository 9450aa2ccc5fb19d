"""What was refused, letter by letter; what it holds is not read here."""

from __future__ import annotations

from dataclasses import dataclass

from services.metrics.reader.database import Snapshot

# One page of dead letters, the newest first; what is null is not asked for.
LETTERS = """
    select id, at, received_at, topic, partition, "offset", source, reason, message,
        octet_length(data) as bytes, sealed, redriven_at, outcome
    from dead_letters
    where id < $1
      and ($2::text is null or source = $2)
      and ($3::text is null or reason = $3)
      and ($4::bigint is null or coalesce(received_at, at) >= $4)
      and ($5::bigint is null or coalesce(received_at, at) < $5)
      and ($6::boolean is null or (redriven_at is not null) = $6)
    order by id desc
    limit $7
"""


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A dead letter without what it holds; instants in microseconds."""

    id: int
    at: int
    received_at: int | None
    topic: str
    partition: int
    offset: int
    source: str
    reason: str
    message: str
    bytes: int
    sealed: bool
    redriven_at: int | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None asks for all. ``below`` is where the page begins, instants are in microseconds."""

    below: int
    source: str | None
    reason: str | None
    since: int | None
    until: int | None
    redriven: bool | None


async def letters(snapshot: Snapshot, wanted: Wanted, limit: int) -> list[LetterRow]:
    """One page, the newest first."""
    rows = await snapshot.fetch(
        LETTERS, wanted.below, wanted.source, wanted.reason, wanted.since, wanted.until, wanted.redriven, limit
    )
    return [LetterRow(**dict(row)) for row in rows]
