"""Map versions: what is configured becomes what is live, one process at a time, before anything is stitched."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from services.stitcher.errors import Misconfigured
from services.stitcher.everything import Report
from services.stitcher.journey.rules import Plan
from services.stitcher.replay import FENCE_ALL, alone, rebuild
from services.stitcher.store.pool import INDEX_ONLY
from shared.identifiers import IdentityRules
from shared.journey_map import JourneyMap

REGISTRY_LOCK: Final = 0x7468726C_0004

KNOWN = "select map_id, map, version, digest, live from map_versions"
ADD = """
    insert into map_versions (map, version, digest, definition, live, live_since)
    values ($1, $2, $3, $4, false, $5) returning map_id
"""
RETIRE = "update map_versions set live = false where map_id = any($1::int[])"
FORGET_DUE = "update journeys set due_at = null, due_hour = null where map_id = any($1::int[]) and due_hour is not null"
GO_LIVE = "update map_versions set live = true, live_since = $2 where map_id = any($1::int[])"


async def register(database_url: str, maps: Sequence[JourneyMap], rules: IdentityRules, report: Report) -> list[Plan]:
    """Makes exactly these map versions live; those that become so are built from the touchpoints that are there.

    Misconfigured if a version is stored that would treat journeys otherwise."""
    connection = await asyncpg.connect(database_url, server_settings=INDEX_ONLY)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", REGISTRY_LOCK)
            plans = [Plan(await _stored(connection, one), one) for one in maps]
            await _go_live(connection, plans, rules, report)
        return plans
    finally:
        await connection.close()


async def still_live(pool: Any, plans: Sequence[Plan]) -> None:
    """Misconfigured if somebody has made other map versions live than ours."""
    rows = await pool.fetch("select map_id, digest from map_versions where live")
    if {tuple(row) for row in rows} != {(plan.map_id, plan.definition.digest()) for plan in plans}:
        raise Misconfigured(
            "another stitcher was started with other journey maps, and those are live now; "
            "give all stitchers the same maps and start this one again"
        )


async def _stored(connection: Any, wanted: JourneyMap) -> int:
    """The number of a map version, stored if it was not; what is only for people to read follows the file."""
    definition = json.dumps(wanted.definition())
    row = await connection.fetchrow(f"{KNOWN} where map = $1 and version = $2", wanted.map, wanted.version)
    if row is None:
        now = time.time_ns() // 1000
        return int(await connection.fetchval(ADD, wanted.map, wanted.version, wanted.digest(), definition, now))
    if row["digest"] != wanted.digest():
        raise Misconfigured(
            f"map {wanted.map} version {wanted.version} was changed in what it does to journeys since it was first "
            f"used; give the changed map the next version, or put version {wanted.version} back as it was, or run "
            "`throughline replay` to rebuild all its journeys"
        )
    await connection.execute(
        "update map_versions set definition = $2 where map_id = $1 and definition <> $2::jsonb",
        row["map_id"],
        definition,
    )
    return int(row["map_id"])


async def _go_live(connection: Any, plans: Sequence[Plan], rules: IdentityRules, report: Report) -> None:
    live = {row["map_id"] for row in await connection.fetch(f"{KNOWN} where live")}
    wanted = {plan.map_id: plan for plan in plans}
    if live == set(wanted):
        return
    await alone(connection)
    await connection.execute(RETIRE, sorted(live - set(wanted)))
    await connection.execute(FORGET_DUE, sorted(live - set(wanted)))
    fresh = [plan for map_id, plan in wanted.items() if map_id not in live]
    await connection.execute(GO_LIVE, [plan.map_id for plan in fresh], time.time_ns() // 1000)
    if fresh and await connection.fetchval("select exists (select from touchpoints)"):
        await rebuild(connection, fresh, rules, report, whole=False)
    await connection.execute(FENCE_ALL)
