"""The plan of each hot statement: rows are found by key, whether the tables are young or grown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from services.stitcher.store import Store, sql

HOT = {
    "identifiers", "links", "link_hours", "aliases", "revocations", "touchpoints", "profiles", "journeys",
    "visit_blocks", "rollup_cohort", "rollup_flow",
}  # fmt: skip
NOT_HOT = {"PREPARE", "PREPARE_CLOCK", "JOURNEYS_ALL", "SWEEP_FLOW", "READ_UP_TO", "OUTBOX"}
STATEMENTS = sorted(
    name for name, statement in vars(sql).items()
    if name.isupper() and not name.startswith("_") and isinstance(statement, str) and name not in NOT_HOT
)  # fmt: skip
GROWN = (
    "insert into identifiers (uid, key, component, profile) select md5(n::text)::uuid, 'k:' || n, md5(n::text)::uuid,"
    " md5(n::text)::uuid from generate_series(1, {rows}) n",
    "insert into links select md5(n::text)::uuid, md5((n + 1)::text)::uuid, 1, 'm', 1, 'm'"
    " from generate_series(1, {rows}) n",
    "insert into link_hours select md5(n::text)::uuid, md5((n + 1)::text)::uuid, 0, 1, 'm', 1, 'm'"
    " from generate_series(1, {rows}) n",
    "insert into aliases select md5(n::text)::uuid, md5((n + 1)::text)::uuid, 1, 'm' from generate_series(1, {rows}) n",
    "insert into revocations select md5(n::text)::uuid, 'link', md5(n::text)::uuid, md5(n::text)::uuid, '', 1, null"
    " from generate_series(1, {rows}) n",
    "insert into touchpoints select md5(n::text)::uuid, 'm', 1, 1, false, '' from generate_series(1, {rows}) n",
    "insert into profiles select md5(n::text)::uuid, 1, 1, '', '', 0 from generate_series(1, {rows}) n",
    "insert into journeys select md5(n::text)::uuid, md5(n::text)::uuid, 1, 0, false, 0, 0, '{0}', 1, 1, 1, 5, null,"
    " false, null, 0, 'web', '', 's', '{}', '', false, n, n from generate_series(1, {rows}) n",
    "insert into visit_blocks select md5(n::text)::uuid, 0, '' from generate_series(1, {rows}) n",
    "insert into rollup_cohort select n, 2, 1, '{1}', 0, 0 from generate_series(1, {rows}) n",
    "insert into rollup_flow select n, 2, 1, 0, 1, 1, 1 from generate_series(1, {rows}) n",
)


def scans(plan: dict[str, Any]) -> Iterator[str]:
    """What a plan reads whole."""
    relation = plan.get("Relation Name")
    if relation in HOT and plan["Node Type"] == "Seq Scan":
        yield f"reads all of {relation}"
    if plan["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan and relation in HOT:
        yield f"reads all of {relation} by {plan['Index Name']}"
    for child in plan.get("Plans", ()):
        yield from scans(child)


async def whole_scans(store: Store, statement: str) -> list[str]:
    nulls = ", ".join(["null"] * max(map(int, re.findall(r"\$(\d+)", statement)), default=0))
    async with store.pool.acquire() as connection:
        await connection.execute(f"prepare hot as {statement}")
        answer = await connection.fetchval(f"explain (format json) execute hot{f'({nulls})' if nulls else ''}")
        await connection.execute("deallocate hot")
    return list(scans(json.loads(answer)[0]["Plan"]))


@pytest.mark.parametrize("rows", [0, 60, 5000])
async def test_every_hot_statement_finds_its_rows_by_key(store: Store, rows: int) -> None:
    for statement in (*GROWN, "analyze") if rows else ():
        await store.pool.execute(statement.replace("{rows}", str(rows)))
    found = {name: await whole_scans(store, getattr(sql, name)) for name in STATEMENTS}
    for given in sql.GIVEN:
        found[given.name] = await whole_scans(store, given.unnested) + await whole_scans(store, given.copied)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_a_plan_that_reads_a_table_whole_would_be_noticed(store: Store) -> None:
    assert await whole_scans(store, "select * from links where latest = $1::bigint") != []
