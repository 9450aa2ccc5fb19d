"""Journeys as rows: the list behind a count, and what one profile has been through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from services.metrics.analysis.windows import Window
from services.metrics.reader.database import Snapshot
from services.metrics.reader.rollups import Cut
from shared.tables import Visit

_COLUMNS: Final = """
    journey_id, profile_id, map_id, status, stalled, stage, furthest, entered, touchpoints, started_at, last_at,
    deadline, closed_at, closed_early, converted_at, value, channel, acquisition, source, segments, visits, restated,
    case when sealed > 0 then array(
        select b.visits from visit_blocks b where b.journey_id = journeys.journey_id order by b.first
    ) end as blocks
"""

# The journeys that a question is about, the latest to begin first; what is null is not asked for.
JOURNEYS = f"""
    select {_COLUMNS} from journeys
    where map_id = $1 and started_at >= $2 and started_at < $3
      and ($4::text is null or $4 = any(segments))
      and ($5::text is null or channel = $5)
      and ($6::text is null or acquisition = $6)
      and ($7::text is null or source = $7)
      and ($8::smallint is null or status = $8)
      and ($9::smallint is null or stage = $9)
      and ($10::smallint is null or furthest = $10)
      and ($11::smallint is null or furthest >= $11)
      and ($12::smallint is null or $12 = any(entered))
      and ($13::boolean is null or (converted_at is not null) = $13)
      and ($14::boolean is null or stalled = $14)
      and (started_at, journey_id) < ($15, $16)
    order by started_at desc, journey_id desc
    limit $17
"""

# The journeys of one profile, the latest to begin first.
JOURNEYS_OF_PROFILE = f"""
    select {_COLUMNS} from journeys
    where profile_id = $1 and map_id = any($2::int[]) and (started_at, journey_id) < ($3, $4)
    order by started_at desc, journey_id desc
    limit $5
"""

# The last journey of one profile on each of the maps.
CURRENT_JOURNEYS = f"""
    select distinct on (map_id) {_COLUMNS} from journeys
    where profile_id = $1 and map_id = any($2::int[])
    order by map_id, started_at desc, closed_at desc nulls first, journey_id desc
"""

LAST_ID: Final = UUID(int=2**128 - 1)
_visits = msgspec.msgpack.Decoder(list[Visit], strict=False)  # numbers of 2**63 and more are text


@dataclass(frozen=True, slots=True)
class JourneyRow:
    """A journey as stored; instants in microseconds, value in millionths, stages by position."""

    journey_id: UUID
    profile_id: UUID
    map_id: int
    status: int
    stalled: bool
    stage: int
    furthest: int
    entered: Sequence[int]
    touchpoints: int
    started_at: int
    last_at: int
    deadline: int | None
    closed_at: int | None
    closed_early: bool
    converted_at: int | None
    value: int
    channel: str
    acquisition: str
    source: str
    segments: Sequence[str]
    visits: Sequence[Visit]
    restated: bool


@dataclass(frozen=True, slots=True)
class Filters:
    """Which journeys of a cut are listed; None asks for all. Stages by position."""

    status: int | None = None
    stage: int | None = None
    furthest: int | None = None
    reached: int | None = None
    entered: int | None = None
    converted: bool | None = None
    stalled: bool | None = None


@dataclass(frozen=True, slots=True)
class After:
    """Where a page begins: below this journey in the order of the list."""

    started_at: int = 2**63 - 1
    journey_id: UUID = LAST_ID


async def journeys(
    snapshot: Snapshot, cut: Cut, window: Window, filters: Filters, *, after: After, limit: int
) -> list[JourneyRow]:
    """One page of the journeys that began in the window."""
    rows = await snapshot.fetch(
        JOURNEYS, cut.map_id, *window.bounds, cut.segment or None, cut.channel, cut.acquisition, cut.source,
        filters.status, filters.stage, filters.furthest, filters.reached, filters.entered, filters.converted,
        filters.stalled, after.started_at, after.journey_id, limit,
    )  # fmt: skip
    return [_journey(row) for row in rows]


async def journeys_of_profile(
    snapshot: Snapshot, profile_id: UUID, map_ids: Sequence[int], after: After, limit: int
) -> list[JourneyRow]:
    """One page of what a profile has been through."""
    rows = await snapshot.fetch(JOURNEYS_OF_PROFILE, profile_id, map_ids, after.started_at, after.journey_id, limit)
    return [_journey(row) for row in rows]


async def current_journeys(snapshot: Snapshot, profile_id: UUID, map_ids: Sequence[int]) -> dict[int, JourneyRow]:
    """By map id the last journey, open or closed."""
    rows = await snapshot.fetch(CURRENT_JOURNEYS, profile_id, map_ids)
    return {row["map_id"]: _journey(row) for row in rows}


def _journey(row: Any) -> JourneyRow:
    columns = dict(row)
    parts = [*(columns.pop("blocks") or ()), columns["visits"]]
    visits = [visit for part in parts for visit in _visits.decode(part)]
    return JourneyRow(**columns | {"value": int(columns["value"]), "visits": visits})
