"""Sums of the rollups: cohorts by the hour journeys began, flows by the hour they moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.metrics.analysis.conversion import CohortRow
from services.metrics.analysis.now import Counted, Move
from services.metrics.analysis.transitions import FlowRow
from services.metrics.analysis.windows import Span
from services.metrics.reader.database import Database, Snapshot
from services.metrics.reader.freshness import AS_OF
from shared.tables import SECOND_TIER

Places = tuple[int, ...]
"""Places in `rollup_cohort.counts` that are added up to one number."""

# The cells that a question is about; a dimension that is null is not asked for.
MINE = """
    select cell_id from cells
    where map_id = $1 and segment = $2
      and ($3::text is null or channel = $3)
      and ($4::text is null or acquisition = $4)
      and ($5::text is null or source = $5)
"""

# The rows of one span and one cell, always by their key: `offset 0` keeps the planner from joining whole cells instead.
ROWS = """cross join lateral (
            select {columns} from {table}
            where cell_id = mine.cell_id and tier = span.tier and at >= span.since and at < span.until
            offset 0
        ) r"""
COHORTS = ROWS.format(table="rollup_cohort", columns="at, counts, value, restated")
FLOWS = ROWS.format(table="rollup_flow", columns="at, from_stage, to_stage, bucket, n")

# The sums of all cohorts in the spans.
COHORT_TOTALS = """
    with mine as ({mine}),
    span as (select * from unnest($6::smallint[], $7::bigint[], $8::bigint[]) as span(tier, since, until))
    select {as_of} as as_of,
           coalesce(sum(r.restated), 0)::bigint as restated,
           coalesce(sum(r.value), 0) as value,
           array[{sums}]::bigint[] as sums
    from span cross join mine
    {cohorts}
"""

# The same, one row for each hour or day in which a journey began; one row without an instant if none did.
COHORT_SERIES = """
    with mine as ({mine}),
    span as (select * from unnest($6::smallint[], $7::bigint[], $8::bigint[]) as span(tier, since, until)),
    cohort as (
        select r.at, sum(r.restated)::bigint as restated, sum(r.value) as value, array[{sums}]::bigint[] as sums
        from span cross join mine
        {cohorts}
        group by r.at
    )
    select fresh.as_of, cohort.* from (select {as_of} as as_of) fresh left join cohort on true
"""

# Transitions in the spans with the times they took; one row without a transition if there is none.
FLOW = """
    with mine as ({mine}),
    span as (select * from unnest($6::smallint[], $7::bigint[], $8::bigint[]) as span(tier, since, until)),
    flow as (
        select r.from_stage, r.to_stage, r.bucket, sum(r.n)::bigint as n
        from span cross join mine
        {flows}
        group by 1, 2, 3
    ),
    cohort as (
        select coalesce(sum(r.restated), 0)::bigint as restated
        from span cross join mine
        {cohorts}
    )
    select fresh.as_of, cohort.restated, flow.*
    from (select {as_of} as as_of) fresh cross join cohort left join flow on true
"""

# Where journeys of the spans stand, and what moved within the named windows.
NOW = """
    with mine as ({mine}),
    span as (select * from unnest($6::smallint[], $7::bigint[], $8::bigint[]) as span(tier, since, until)),
    standing as (
        select coalesce(sum(r.restated), 0)::bigint as restated, array[{sums}]::bigint[] as sums
        from span cross join mine
        {cohorts}
    ),
    lately as (
        select * from unnest($9::text[], $10::smallint[], $11::bigint[], $12::bigint[])
                   as lately(window_name, tier, since, until)
    ),
    moves as (
        select span.window_name, r.from_stage, r.to_stage, sum(r.n)::bigint as n
        from lately span cross join mine
        {flows}
        group by 1, 2, 3
    )
    select fresh.as_of, standing.restated, standing.sums, moves.*
    from (select {as_of} as as_of) fresh cross join standing left join moves on true
"""

# What happened second by second of late, over all journeys of a map; one row without a transition if nothing did.
COUNTED = """
    with recent as (
        select r.at, r.from_stage, r.to_stage, sum(r.n)::bigint as n
        from cells cross join lateral (
            select at, from_stage, to_stage, n from rollup_flow
            where cell_id = cells.cell_id and tier = $3 and at >= $2
            offset 0
        ) r
        where cells.map_id = $1 and cells.segment = ''
        group by 1, 2, 3
    )
    select fresh.as_of, recent.* from (select {as_of} as as_of) fresh left join recent on true
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """Which journeys a question is about; None asks for all, segment '' holds every journey."""

    map_id: int
    segment: str = ""
    channel: str | None = None
    acquisition: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """How fresh and how settled an answer is; ``as_of`` in microseconds."""

    as_of: int
    restated: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Cohorts added up: by place in the layout; value in millionths."""

    known: Known
    counts: Mapping[int, int]
    value: int


async def cohort_totals(database: Database, cut: Cut, spans: Sequence[Span], wanted: Places) -> Sums:
    """The sums at the wanted places."""
    sql = _cohort_totals_sql(wanted)
    [row] = await database.fetch(sql, *_cut(cut), *_spans(spans))
    return Sums(Known(row["as_of"], row["restated"]), dict(zip(wanted, row["sums"], strict=True)), int(row["value"]))


async def cohort_series(
    database: Database, cut: Cut, spans: Sequence[Span], wanted: tuple[Places, ...]
) -> tuple[Known, list[CohortRow]]:
    """For each hour or day in which journeys began one number for each group of places."""
    rows = await database.fetch(_cohort_series_sql(wanted), *_cut(cut), *_spans(spans))
    known = Known(rows[0]["as_of"], sum(row["restated"] or 0 for row in rows))
    return known, [CohortRow(row["at"], row["sums"], int(row["value"])) for row in rows if row["at"] is not None]


async def flow(database: Database, cut: Cut, spans: Sequence[Span]) -> tuple[Known, list[FlowRow]]:
    """All transitions by the time they took."""
    rows = await database.fetch(_FLOW_SQL, *_cut(cut), *_spans(spans))
    found = [
        FlowRow(row["from_stage"], row["to_stage"], row["bucket"], row["n"]) for row in rows if row["n"] is not None
    ]
    return Known(rows[0]["as_of"], rows[0]["restated"]), found


async def standing(
    database: Database, cut: Cut, spans: Sequence[Span], wanted: Places, lately: Mapping[str, Sequence[Span]]
) -> tuple[Sums, list[Move]]:
    """The sums at the wanted places and what moved within each of the windows."""
    named = [(name, span) for name, window in lately.items() for span in window]
    rows = await database.fetch(
        _now_sql(wanted), *_cut(cut), *_spans(spans), [name for name, _ in named], *_spans([span for _, span in named])
    )
    first = rows[0]
    sums = Sums(Known(first["as_of"], first["restated"]), dict(zip(wanted, first["sums"], strict=True)), 0)
    moves = [
        Move(row["window_name"], row["from_stage"], row["to_stage"], row["n"]) for row in rows if row["n"] is not None
    ]
    return sums, moves


async def counted_since(database: Database, map_id: int, since: int) -> tuple[int, Counted]:
    """How fresh the answer is, and all transitions since an instant by second."""
    rows = await database.fetch(_COUNTED_SQL, map_id, since, SECOND_TIER)
    counted = {(row["at"], row["from_stage"], row["to_stage"]): row["n"] for row in rows if row["n"] is not None}
    return rows[0]["as_of"], counted


async def restated(snapshot: Snapshot, cut: Cut, spans: Sequence[Span]) -> int:
    """How many journeys of the spans were restated."""
    [row] = await snapshot.fetch(_cohort_totals_sql(()), *_cut(cut), *_spans(spans))
    found: int = row["restated"]
    return found


def _cut(cut: Cut) -> tuple[Any, ...]:
    return cut.map_id, cut.segment, cut.channel, cut.acquisition, cut.source


def _spans(spans: Sequence[Span]) -> tuple[list[int], list[int], list[int]]:
    return [span.tier for span in spans], [span.since for span in spans], [span.until for span in spans]


def _sum(places: Iterable[int]) -> str:
    """SQL arrays are 1-based. The sum of no rows is null, which is 0 here."""
    added = " + ".join(f"r.counts[{place + 1}]" for place in places)
    return f"coalesce(sum({added}), 0)::bigint"


@lru_cache(maxsize=256)
def _cohort_totals_sql(wanted: Places) -> str:
    return _written(COHORT_TOTALS, tuple((place,) for place in wanted))


@lru_cache(maxsize=256)
def _cohort_series_sql(wanted: tuple[Places, ...]) -> str:
    return _written(COHORT_SERIES, wanted)


@lru_cache(maxsize=256)
def _now_sql(wanted: Places) -> str:
    return _written(NOW, tuple((place,) for place in wanted))


def _written(template: str, wanted: tuple[Places, ...] = ()) -> str:
    """A template with its parts in place."""
    sums = ", ".join(map(_sum, wanted))
    return template.format(mine=MINE, as_of=AS_OF, cohorts=COHORTS, flows=FLOWS, sums=sums)


_FLOW_SQL = _written(FLOW)
_COUNTED_SQL = _written(COUNTED)
