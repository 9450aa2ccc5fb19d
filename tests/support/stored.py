"""What the tables say, in the shape that the slow model's answers are compared in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import asyncpg
import msgspec

from services.stitcher.journey.rules import Plan
from shared.identifiers import uid
from shared.journey_map import JourneyMap
from shared.tables import DAY_TIER, HOUR_TIER, Visit
from tests.support.compared import cohort_of, different, flow_of, journeys_of, of_product
from tests.support.slow_model import Journey, Ladder, Model, model
from tests.support.strategies import History

AT_THE_END = 2**62

_visits = msgspec.msgpack.Decoder(list[Visit], strict=False)


async def agrees(url: str, plans: Sequence[Plan], history: History) -> None:
    """Fails with the first things that differ between the tables and the slow model."""
    slow = model(history.touchpoints, history.commands, history.maps, history.rules, history.clock)
    connection = await asyncpg.connect(url)
    try:
        assert different(*await identities(connection, history)) == []
        assert different(await profiles(connection), touchpoints_of(slow)) == []
        for plan, m in zip(plans, history.maps, strict=True):
            assert different(await journeys(connection, plan.map_id, m), journeys_of(slow, m)) == []
            assert different(await cohort(connection, plan.map_id), cohort_of(slow, m)) == []
            assert different(await flow(connection, plan.map_id), flow_of(slow, m)) == []
    finally:
        await connection.close()


async def identities(connection: Any, history: History) -> tuple[dict[str, Any], dict[str, Any]]:
    """For each identifier with a touchpoint or a link the profile it climbs to now: stored, and in the model."""
    ladder = Ladder(history.touchpoints, history.commands, history.rules)
    known = {f"{kind}:{value}" for one in history.touchpoints for kind, value in one.ids.items()}
    rows = await connection.fetch("select key, profile from identifiers where key = any($1::text[])", sorted(known))
    return dict(rows), {key: uid(ladder.climb(key, AT_THE_END)) for key in known}


async def profiles(connection: Any) -> dict[Any, int]:
    return dict(await connection.fetch("select profile_id, touchpoints from profiles where touchpoints > 0"))


def touchpoints_of(slow: Model) -> dict[Any, int]:
    """How many touchpoints each profile has."""
    return {uid(root): n for root, n in Counter(slow.owner.values()).items()}


async def journeys(connection: Any, map_id: int, m: JourneyMap) -> dict[Any, Journey]:
    """(root, place among the profile's) -> journey."""
    rows = await connection.fetch(
        "select j.*, i.key, array(select visits from visit_blocks b where b.journey_id = j.journey_id order by first)"
        " as blocks from journeys j left join identifiers i on i.uid = j.profile_id where map_id = $1 "
        "order by started_at, coalesce(closed_at, $2), journey_id",
        map_id,
        AT_THE_END,
    )
    found: dict[str, list[Journey]] = {}
    for row in rows:
        found.setdefault(row["key"], []).append(_journey(m, row))
    return {(root, n): journey for root, theirs in found.items() for n, journey in enumerate(theirs)}


def _journey(m: JourneyMap, row: Mapping[str, Any]) -> Journey:
    fields = SimpleNamespace(**row)
    fields.value = int(fields.value)
    visits = [visit for part in [*row["blocks"], row["visits"]] for visit in _visits.decode(part)]
    assert fields.entered == sorted({visit.stage for visit in visits})
    assert fields.stage == visits[-1].stage
    return of_product(m, fields, visits, (fields.status, fields.stalled, fields.closed_at), fields.closed_early)


async def cohort(connection: Any, map_id: int) -> dict[Any, Any]:
    rows = await connection.fetch(
        "select segment, channel, acquisition, source, tier, at, counts, value from rollup_cohort "
        "join cells using (cell_id) where map_id = $1",
        map_id,
    )
    found = {(tuple(row[:4]), row[4], row[5]): (tuple(row[6]), int(row[7])) for row in rows}
    return {name: sums for name, sums in found.items() if any(sums[0]) or sums[1]}


async def flow(connection: Any, map_id: int) -> dict[Any, int]:
    rows = await connection.fetch(
        "select segment, channel, acquisition, source, tier, at, from_stage, to_stage, bucket, n from rollup_flow "
        "join cells using (cell_id) where map_id = $1 and tier = any($2::int[]) and n <> 0",
        map_id,
        [HOUR_TIER, DAY_TIER],
    )
    return {(tuple(row[:4]), *row[4:9]): row[9] for row in rows}
