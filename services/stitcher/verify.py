"""Folds everything from scratch and compares it with what is stored; may run beside live services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.stitcher.everything import Part, Report, parts
from services.stitcher.journey.evidence import Evidence
from services.stitcher.journey.facts import Cell, Rollups, State, add_difference, add_restated, state_of
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import FOREVER, Span, hour_of
from services.stitcher.journey.rules import Plan
from services.stitcher.maps import live_plans
from services.stitcher.settings import StitcherSettings
from services.stitcher.stitching import uid
from services.stitcher.store import rows, sql
from services.stitcher.store.pool import INDEX_ONLY
from shared.identifiers import IdentityRules, load_identity
from shared.tables import DAY_TIER, HOUR_TIER

PROFILES = "select profile_id, touchpoints, traits, journeys from profiles where profile_id = any($1::uuid[])"
COHORT = """
    select c.map_id, c.segment, c.channel, c.acquisition, c.source, r.tier, r.at, r.counts, r.value, r.restated
    from rollup_cohort r join cells c using (cell_id) where c.map_id = any($1::int[])
"""
FLOW = """
    select c.map_id, c.segment, c.channel, c.acquisition, c.source,
        r.tier, r.at, r.from_stage, r.to_stage, r.bucket, r.n
    from rollup_flow r join cells c using (cell_id) where c.map_id = any($1::int[]) and r.tier = any($2::int[])
"""
COMPARED: Final = (
    "map_id", "channel", "acquisition", "source", "started_at", "last_at", "deadline", "segments", "visits", "furthest",
    "touchpoints", "converted_at", "value", "early",
)  # fmt: skip


async def verify(settings: StitcherSettings, report: Report) -> int:
    """The number of problems found, each reported; one snapshot of the database."""
    connection = await asyncpg.connect(settings.database_url, server_settings=INDEX_ONLY)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rules = load_identity(settings.throughline_config)
            return await Verification(connection, await live_plans(connection), rules, report).run()
    finally:
        await connection.close()


class Verification:
    """One run. Rollups are summed up in memory, a number a cell and hour; everything else is looked at in parts."""

    def __init__(self, connection: Any, plans: Sequence[Plan], rules: IdentityRules, report: Report) -> None:
        self._connection, self._rules, self._report = connection, rules, report
        self._plans = {plan.map_id: plan for plan in plans}
        self._rollups = Rollups()
        self._problems = 0
        self._clock = 0
        self._journeys = 0

    async def run(self) -> int:
        self._clock = int(await self._connection.fetchval("select now from clock") or 0)
        plans = list(self._plans.values())
        async for part in parts(self._connection, plans, self._rules, self._clock, report=self._report, what="verify"):
            await self._look_at(part)
        stored = await self._connection.fetchval(
            "select count(*) from journeys where map_id = any($1::int[])", list(self._plans)
        )
        if stored != self._journeys:
            self._found([f"{stored} journeys are stored, {self._journeys} belong to somebody"])
        self._found(await self._wrong_rollups())
        return self._problems

    def _found(self, problems: Iterator[str] | Sequence[str]) -> None:
        for problem in problems:
            self._problems += 1
            self._report.problem(problem)

    async def _look_at(self, part: Part) -> None:
        self._found(wrong_identity(part))
        self._found(wrong_evidence(part, self._rules))
        ids = [uid(key) for key in part.identifiers]
        self._found(wrong_profiles(part, await self._connection.fetch(PROFILES, ids)))
        stored = {}
        for row in await self._connection.fetch(sql.JOURNEYS_OF, ids, list(self._plans)):
            profile_id, journey = rows.journey(row)
            stored[journey.journey_id] = (profile_id, journey)
        self._journeys += len(stored)
        self._found(wrong_journeys(part, stored, self._plans, self._clock))
        for _, journey in stored.values():
            plan = self._plans[journey.map_id]
            assert journey.counted is not None, "a stored journey has been counted"
            add_difference(self._rollups, plan, None, (journey, State(*journey.counted, None)), FOREVER)
            if journey.restated:
                add_restated(self._rollups, plan, journey, 1)

    async def _wrong_rollups(self) -> list[str]:
        found = []
        cohort = {name: delta for name, delta in self._rollups.cohort.items() if not _empty(delta)}
        async for row in self._connection.cursor(COHORT, list(self._plans), prefetch=1000):
            name = (Cell(*row[:5]), row[5], row[6])
            delta = cohort.pop(name, None)
            wanted = (delta.counts, delta.value, delta.restated) if delta else ([0] * len(row[7]), 0, 0)
            if (row[7], int(row[8]), row[9]) != wanted:
                found.append(f"cohort {name}: stored {(row[7], int(row[8]), row[9])}, the journeys give {wanted}")
        found += [f"cohort {name}: not stored, the journeys give {delta.counts}" for name, delta in cohort.items()]
        flow = {name: n for name, n in self._rollups.flow.items() if n}
        async for row in self._connection.cursor(FLOW, list(self._plans), [HOUR_TIER, DAY_TIER], prefetch=1000):
            key = (Cell(*row[:5]), *row[5:10])
            if row[10] != (n := flow.pop(key, 0)):
                found.append(f"flow {key}: stored {row[10]}, the journeys give {n}")
        return found + [f"flow {key}: not stored, the journeys give {n}" for key, n in flow.items()]


def wrong_identity(part: Part) -> Iterator[str]:
    """Identifiers whose profile or degree is not what the evidence says."""
    for key, known in part.identifiers.items():
        root, degree = part.folded.ladder.climb(key, FOREVER), part.evidence.degrees.get(key, 0)
        if known.profile != uid(root):
            yield f"identifier {key}: stored profile {known.profile}, climbs to {root} ({uid(root)})"
        if known.degree != degree:
            yield f"identifier {key}: stored degree {known.degree}, has {degree}"


def wrong_evidence(part: Part, rules: IdentityRules) -> Iterator[str]:
    """Links that do not sum up their hours, and touchpoints whose links are not there."""
    sums: dict[tuple[str, str], Span] = {}
    for (lower, higher, _), span in part.evidence.hours.items():
        known = sums.get((lower, higher))
        sums[lower, higher] = span if known is None else known.merged(span)
    for pair in sums.keys() | part.evidence.links.keys():
        link = part.evidence.links.get(pair)
        if link is None or link.span != sums.get(pair):
            yield f"link {pair}: stored {link}, the hours give {sums.get(pair)}"
    yield from _unwitnessed(part, part.evidence, rules)


def _unwitnessed(part: Part, evidence: Evidence, rules: IdentityRules) -> Iterator[str]:
    for touch in part.touches:
        for lower, higher in touch.pairs:
            span, mine = evidence.hours.get((lower, higher, hour_of(touch.time))), Span.at(touch.time, touch.id)
            if span is None or span.merged(mine) != span:
                yield f"touchpoint {touch.id} of {touch.key}: no evidence that {lower} is {higher}"


def wrong_profiles(part: Part, stored: Sequence[Any]) -> Iterator[str]:
    """Profiles that do not say what their touchpoints do."""
    known = {row[0]: (row[1], rows.traits(row[2]), rows.last_journeys(row[3])) for row in stored if row[1]}
    counts: dict[str, int] = {}
    for root in part.folded.owners.values():
        counts[root] = counts.get(root, 0) + 1
    for root, count in counts.items():
        last = {map_id: counted[-1][0].journey_id for map_id, counted in part.folded.journeys[root].items() if counted}
        wanted = (count, part.folded.traits[root], last)
        found = known.pop(uid(root), None)
        if found is None or found[:2] != wanted[:2] or last.items() - found[2].items():
            yield f"profile {root} ({uid(root)}): stored {found}, its touchpoints give {wanted}"
    for profile_id, found in known.items():
        yield f"profile {profile_id}: stored {found}, has no touchpoints"


def wrong_journeys(
    part: Part, stored: Mapping[UUID, tuple[UUID, Journey]], plans: Mapping[int, Plan], clock: int
) -> Iterator[str]:
    """Journeys that are not what a fold from scratch gives, or are counted as what they are not."""
    left = dict(stored)
    for root, maps in part.folded.journeys.items():
        for journey, _ in (one for counted in maps.values() for one in counted):
            owner, known = left.pop(journey.journey_id, (None, None))
            if known is None:
                yield f"journey {journey.journey_id} of {root}: not stored, begins at {journey.started_at}"
                continue
            if owner != uid(root):
                yield f"journey {journey.journey_id}: stored with profile {owner}, belongs to {root} ({uid(root)})"
            for name in COMPARED:
                if getattr(known, name) != getattr(journey, name):
                    yield (
                        f"journey {journey.journey_id} of {root}: stored {name} {getattr(known, name)}, "
                        f"its touchpoints give {getattr(journey, name)}"
                    )
            if not counted_rightly(known, journey, plans[journey.map_id], clock):
                yield f"journey {journey.journey_id} of {root}: counted as {known.counted} at clock {clock}"
    for journey_id, (owner, journey) in left.items():
        yield f"journey {journey_id} of profile {owner}: stored, but no touchpoints give it (map {journey.map_id})"


def counted_rightly(known: Journey, journey: Journey, plan: Plan, clock: int) -> bool:
    """Whether a journey counts as what it is at the clock, or was at an earlier instant that the clock has yet to look
    at it from."""
    now = state_of(journey, plan, clock)
    if known.counted == now[:3]:
        return True
    instants = [at for at in (journey.last_at, _stalls_at(journey, plan), journey.deadline) if at is not None]
    return any(known.counted == state_of(journey, plan, at)[:3] for at in instants if at <= clock)


def _stalls_at(journey: Journey, plan: Plan) -> int | None:
    stall = plan.stalls[journey.stage]
    return None if stall is None else journey.last_at + stall


def _empty(delta: Any) -> bool:
    return not (any(delta.counts) or delta.value or delta.restated)
