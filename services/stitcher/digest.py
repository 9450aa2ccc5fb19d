"""A name for the whole state: equal wherever the same touchpoints are in, however they came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import asyncpg
import msgspec

from services.stitcher.journey.facts import Cell, Rollups, State, add_difference, state_of
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import FOREVER
from services.stitcher.journey.rules import Plan
from services.stitcher.maps import live_plans
from services.stitcher.store import rows, sql
from services.stitcher.store.pool import INDEX_ONLY
from shared.tables import DAY_TIER, HOUR_TIER, Visit

IDENTITIES = """
    select i.key, p.key, i.degree from identifiers i join identifiers p on p.uid = i.profile order by i.key
"""
LINKS = """
    select l.key, h.key, k.hour, k.earliest, k.earliest_id, k.latest, k.latest_id, links.revoked
    from link_hours k join links using (lower, higher)
    join identifiers l on l.uid = k.lower join identifiers h on h.uid = k.higher
    order by 1, 2, 3
"""
ALIASES = """
    select a.key, b.key, time, touchpoint_id, revoked
    from aliases join identifiers a on a.uid = a join identifiers b on b.uid = b order by 1, 2
"""
TOUCHPOINTS = """
    select i.key, t.id, sha256(t.data) from touchpoints t join identifiers i on i.uid = t.identifier order by 1, 2
"""
PROFILES = """
    select i.key, p.touchpoints, p.traits from profiles p join identifiers i on i.uid = p.profile_id
    where p.touchpoints > 0 order by i.key
"""
COHORT = """
    select c.map_id, c.segment, c.channel, c.acquisition, c.source, r.tier, r.at, r.counts, r.value
    from rollup_cohort r join cells c using (cell_id) where c.map_id = any($1::int[])
"""
FLOW = """
    select c.map_id, c.segment, c.channel, c.acquisition, c.source,
        r.tier, r.at, r.from_stage, r.to_stage, r.bucket, r.n
    from rollup_flow r join cells c using (cell_id) where c.map_id = any($1::int[]) and r.tier = any($2::int[])
"""


async def digest(database_url: str, clock: int | None = None) -> dict[str, str]:
    """By part of the state (identities, evidence, touchpoints, profiles, journeys, rollups) the digest of it.

    ``clock``: with journeys and rollups as they are once time has closed what is due by then (None: as they are).
    What depends on order or arrival is left out: numbers of maps and cells, restated, sequences, offsets, short tiers.
    """
    connection = await asyncpg.connect(database_url, server_settings=INDEX_ONLY)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _Digest(connection, await live_plans(connection), clock).run()
    finally:
        await connection.close()


class _Digest:
    def __init__(self, connection: Any, plans: Iterable[Plan], clock: int | None) -> None:
        self._connection, self._clock = connection, clock
        self._plans: Mapping[int, Plan] = {plan.map_id: plan for plan in plans}
        self._moved = Rollups()

    async def run(self) -> dict[str, str]:
        return {
            "identities": await _hash(self._rows(IDENTITIES)),
            "evidence": await _hash(self._rows(LINKS)) + await _hash(self._rows(ALIASES)),
            "touchpoints": await _hash(self._rows(TOUCHPOINTS)),
            "profiles": await _hash(self._profiles()),
            "journeys": await _hash(self._journeys()),
            "rollups": await self._rollups(),
        }

    async def _rows(self, statement: str) -> AsyncIterator[Any]:
        async for row in self._connection.cursor(statement, prefetch=1000):
            yield list(row)

    async def _profiles(self) -> AsyncIterator[Any]:
        async for key, touchpoints, traits in self._rows(PROFILES):
            yield [key, touchpoints, sorted(rows.traits(traits).items())]

    async def _journeys(self) -> AsyncIterator[Any]:
        query = f"{sql.JOURNEYS_ALL} where map_id = any($1::int[]) order by journey_id"
        async for row in self._connection.cursor(query, list(self._plans), prefetch=1000):
            profile_id, journey = rows.journey(row)
            plan = self._plans[journey.map_id]
            yield [plan.name, plan.version, str(profile_id), self._state(journey, plan)[:3], _plain(journey)]

    def _state(self, journey: Journey, plan: Plan) -> State:
        """As counted, or at the clock; then the rollups move with it."""
        assert journey.counted is not None, "a stored journey has been counted"
        counted = State(*journey.counted, None)
        if self._clock is None:
            return counted
        state = state_of(journey, plan, self._clock)
        add_difference(self._moved, plan, (journey, counted), (journey, state), FOREVER)
        return state

    async def _rollups(self) -> str:
        maps = list(self._plans)
        cohort: dict[Any, list[int]] = {}
        async for row in self._connection.cursor(COHORT, maps, prefetch=1000):
            cohort[self._name(row[:5]), row[5], row[6]] = [*row[7], int(row[8])]
        for (cell, tier, at), delta in self._moved.cohort.items():
            name = (self._name(cell), tier, at)
            known = cohort.get(name, [0] * (len(delta.counts) + 1))
            cohort[name] = [a + b for a, b in zip(known, [*delta.counts, delta.value], strict=True)]
        flow: dict[Any, int] = {}
        async for row in self._connection.cursor(FLOW, maps, [HOUR_TIER, DAY_TIER], prefetch=1000):
            flow[self._name(row[:5]), *row[5:10]] = row[10]
        for transition, n in self._moved.flow.items():
            key = (self._name(transition[0]), *transition[1:])
            flow[key] = flow.get(key, 0) + n
        standing = sorted(item for item in cohort.items() if any(item[1]))
        return await _hash(_each([*standing, *sorted(item for item in flow.items() if item[1])]))

    def _name(self, cell: Any) -> tuple[Any, ...]:
        plan = self._plans[cell[0]]
        return (plan.name, plan.version, *Cell(*cell)[1:])


def _plain(journey: Journey) -> Any:
    return [
        str(journey.journey_id), journey.channel, journey.acquisition, journey.source, journey.started_at,
        journey.last_at, journey.deadline, journey.segments, [_visit(one) for one in journey.visits],
        journey.furthest, journey.touchpoints, journey.converted_at, journey.value, journey.early,
    ]  # fmt: skip


def _visit(visit: Visit) -> Any:
    return [*msgspec.structs.astuple(visit)[:-1], sorted(visit.moments.items())]


async def _each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def _hash(items: AsyncIterator[Any]) -> str:
    """A digest of values in order."""
    total = hashlib.blake2b(digest_size=16)
    async for item in items:
        total.update(json.dumps(item, default=str).encode())  # sums of money know no 64 bit
    return total.hexdigest()
