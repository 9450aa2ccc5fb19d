"""Rebuilds what is derived (identities, profiles, journeys, rollups) from what is kept (touchpoints, evidence)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from services.stitcher.everything import Part, Report, parts
from services.stitcher.journey.facts import Cohort, Rollups, add_difference
from services.stitcher.journey.identity import FOREVER
from services.stitcher.journey.rules import Plan
from services.stitcher.maps import live_plans
from services.stitcher.ports import Profile
from services.stitcher.settings import StitcherSettings
from services.stitcher.stitching import uid
from services.stitcher.store import rows, sql
from services.stitcher.store.pool import INDEX_ONLY
from services.stitcher.store.store import REPLAY_LOCK
from shared.identifiers import IdentityRules, load_identity
from shared.journey_map import JourneyMap, load_maps

TAKE_OVER = "update map_versions set digest = $3, definition = $4 where map = $1 and version = $2 and digest <> $3"
FENCE_ALL = """
    update partitions p set epoch = p.epoch + 1
    from (select topic, partition from partitions order by topic, partition for update) locked
    where p.topic = locked.topic and p.partition = locked.partition
"""
OF_PROFILE = "select profile_id, journeys, sequence from profiles where profile_id = any($1::uuid[])"


async def replay(settings: StitcherSettings, report: Report) -> None:
    """Rebuilds everything of all live maps, in one transaction; the services wait meanwhile, readers do not. A map that
    was changed under its version counts from then on as it is configured."""
    connection = await asyncpg.connect(settings.database_url, server_settings=INDEX_ONLY)
    try:
        async with connection.transaction():
            await alone(connection)
            if await take_over(connection, load_maps(settings.throughline_config)):
                await connection.execute(FENCE_ALL)
            plans = await live_plans(connection)
            rules = load_identity(settings.throughline_config)
            await rebuild(connection, plans, rules, report, whole=True)
    finally:
        await connection.close()


async def take_over(connection: Any, maps: Iterable[JourneyMap]) -> bool:
    """Makes stored map versions what the configuration says they are; whether any was something else. Whoever stitches
    by the old ones must then be fenced."""
    changed = False
    for one in maps:
        definition = json.dumps(one.definition())
        changed |= await connection.execute(TAKE_OVER, one.map, one.version, one.digest(), definition) != "UPDATE 0"
    return changed


async def alone(connection: Any) -> None:
    """Waits until nobody stitches, and keeps everybody from it until the transaction ends."""
    await connection.execute("select pg_advisory_xact_lock($1)", REPLAY_LOCK)


async def rebuild(connection: Any, plans: Sequence[Plan], rules: IdentityRules, report: Report, *, whole: bool) -> None:
    """Rebuilds the journeys and rollups of some maps; ``whole``: of all maps, and identities and profiles too.

    In a transaction that is `alone`."""
    map_ids = [plan.map_id for plan in plans]
    await _clear(connection, map_ids)
    clock = int(await connection.fetchval("select now from clock") or 0)
    total = Rollups()
    by_id = {plan.map_id: plan for plan in plans}
    async for part in parts(connection, plans, rules, clock, report=report, what="replay"):
        if whole:
            await _write_identity(connection, part)
        await _write_profiles(connection, part, whole)
        await _write_journeys(connection, part, by_id)
        add_all(total, part, by_id, time.time_ns() // 1000)
    await _write_rollups(connection, total, time.time_ns() // 1000)


async def _clear(connection: Any, map_ids: Sequence[int]) -> None:
    await connection.execute(
        "delete from visit_blocks b using journeys j where j.journey_id = b.journey_id and j.map_id = any($1::int[])",
        map_ids,
    )
    await connection.execute("delete from journeys where map_id = any($1::int[])", map_ids)
    for table in ("rollup_cohort", "rollup_flow"):
        await connection.execute(
            f"delete from {table} r using cells c where r.cell_id = c.cell_id and c.map_id = any($1::int[])", map_ids
        )


async def _write_identity(connection: Any, part: Part) -> None:
    ladder = part.folded.ladder
    given = []
    for key, known in part.identifiers.items():
        profile, degree = uid(ladder.climb(key, FOREVER)), part.evidence.degrees.get(key, 0)
        if (profile, degree) != (known.profile, known.degree):
            given.append((uid(key), profile, degree, known.aliased))
    if given:
        await sql.UPDATE_IDENTIFIERS.run(connection, given)


async def _write_profiles(connection: Any, part: Part, whole: bool) -> None:
    """Profiles as folded; numbers told on journeys.changes go on, and so do maps that are not rebuilt."""
    ids = [uid(key) for key in part.identifiers]
    known = {row[0]: (rows.last_journeys(row[1]), row[2]) for row in await connection.fetch(OF_PROFILE, ids)}
    folded, given = part.folded, []
    times: dict[str, list[int]] = {}
    for touch in part.touches:
        times.setdefault(folded.owners[touch.key, touch.id], []).append(touch.time)
    for root, moments in times.items():
        last, sequence = known.pop(uid(root), ({}, 0))
        mine = {map_id: counted[-1][0].journey_id for map_id, counted in folded.journeys[root].items() if counted}
        journeys = mine if whole else {k: v for k, v in last.items() if k not in folded.journeys[root]} | mine
        profile = Profile(uid(root), root, len(moments), max(moments), folded.traits[root], journeys, sequence)
        given.append(rows.profile_row(profile))
    if given:
        await sql.MERGE_PROFILES.run(connection, given)
    if whole and known:
        await connection.execute("delete from profiles where profile_id = any($1::uuid[])", list(known))


async def _write_journeys(connection: Any, part: Part, plans: dict[int, Plan]) -> None:
    given, blocks = [], []
    for root, maps in part.folded.journeys.items():
        for map_id, counted in maps.items():
            for journey, state in counted if map_id in plans else ():
                journey.counted = state[:3]
                blocks += rows.block_rows(journey)
                given.append(rows.journey_row(uid(root), journey, state.due_at))
    if given:
        await sql.MERGE_JOURNEYS.run(connection, given)
    await connection.copy_records_to_table("visit_blocks", records=blocks, columns=sql.BLOCK)


def add_all(total: Rollups, part: Part, plans: dict[int, Plan], now: int) -> None:
    """Adds the facts of a part's journeys."""
    for maps in part.folded.journeys.values():
        for map_id, counted in maps.items():
            for one in counted:
                add_difference(total, plans[map_id], None, one, now)


async def _write_rollups(connection: Any, total: Rollups, now: int) -> None:
    columns = rows.columns(sorted(rows.cells(total)), 5)
    await connection.execute(sql.INSERT_CELLS, *columns)
    cell_ids = {rows.cell(row[1:]): row[0] for row in await connection.fetch(sql.CELLS, *columns)}
    cohort: list[tuple[int, int, int, Cohort]] = rows.cohort_rows(total, cell_ids)
    await connection.copy_records_to_table(
        "rollup_cohort",
        records=[(cell, tier, at, d.counts, d.value, d.restated) for cell, tier, at, d in cohort],
        columns=["cell_id", "tier", "at", "counts", "value", "restated"],
    )
    await connection.copy_records_to_table(
        "rollup_flow",
        records=rows.flow_rows(total, cell_ids, now),
        columns=["cell_id", "tier", "at", "from_stage", "to_stage", "bucket", "n"],
    )
