"""How fresh the tables are: every touchpoint acknowledged before `as_of` is in them."""

from __future__ import annotations

from typing import Final

from services.metrics.reader.database import Snapshot

# The instant that every partition of the touchpoints has been read to; 1970 as long as none has.
AS_OF: Final = "(select coalesce(min(as_of), 0) from partitions where topic = 'touchpoints')"


async def as_of(snapshot: Snapshot) -> int:
    """The freshness of this snapshot, in microseconds."""
    [row] = await snapshot.fetch(f"select {AS_OF} as as_of")
    found: int = row["as_of"]
    return found
