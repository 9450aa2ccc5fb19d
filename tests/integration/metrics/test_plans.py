"""How the database answers: by key, as a role that cannot write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.metrics.analysis.windows import Span
from services.metrics.errors import TooSlow
from services.metrics.reader import rollups
from services.metrics.reader.database import READER_ROLE, Database, connect
from shared.tables import DAY_TIER, HOUR_TIER, SECOND_TIER
from shared.touchpoint import HOUR
from tests.integration.metrics.seed import Seed

SPANS = rollups._spans([Span(DAY_TIER, 0, 90 * 24 * HOUR), Span(HOUR_TIER, 0, 5 * HOUR)])
CUT = rollups._cut(rollups.Cut(1))


@pytest.fixture
async def reader(database: str) -> AsyncIterator[Database]:
    opened = await connect(database, 2, 1)
    yield opened
    await opened.close()


@pytest.fixture
async def young(seed: Seed) -> None:
    """Tables that have grown since the planner last looked at them."""
    await seed.connection.execute(
        "insert into cells (map_id, segment, channel, acquisition, source) values (1, '', 'web', '', 'site')"
    )
    await seed.connection.execute(
        "insert into rollup_cohort select 1, $1, $2::bigint * g, array_fill(1::bigint, array[26]), 1, 0"
        " from generate_series(0, 3000) g",
        HOUR_TIER, HOUR,
    )  # fmt: skip
    await seed.connection.execute(
        "insert into rollup_flow select 1, $1, $2::bigint * g, 0, 1, b, 1"
        " from generate_series(0, 1000) g, generate_series(1, 10) b",
        HOUR_TIER, HOUR,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        (rollups._cohort_totals_sql((0, 1, 2)), (*CUT, *SPANS)),
        (rollups._cohort_series_sql(((0, 1), (2,))), (*CUT, *SPANS)),
        (rollups._FLOW_SQL, (*CUT, *SPANS)),
        (rollups._now_sql((0, 1)), (*CUT, *SPANS, ["1h", "1h"], *SPANS)),
        (rollups._COUNTED_SQL, (1, 0, SECOND_TIER)),
    ],
)
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_rollups_are_read_by_cell_tier_and_time(
    reader: Database, young: None, mode: str, sql: str, values: tuple[Any, ...]
) -> None:
    async with reader.snapshot() as snapshot:
        await snapshot.fetch(f"set local plan_cache_mode = {mode}")
        plan = "\n".join(row[0] for row in await snapshot.fetch(f"explain {sql}", *values))
    reads = [line for line in plan.splitlines() if "Index Cond" in line and "cell_id" in line]
    assert reads
    assert all("tier" in line and "at >=" in line for line in reads), plan
    assert "Seq Scan" not in plan


async def test_reads_as_the_role_that_can_only_read(reader: Database) -> None:
    [row] = await reader.fetch("select current_user as it")
    assert row["it"] == READER_ROLE
    with pytest.raises(asyncpg.PostgresError, match=r"read-only|permission denied"):
        await reader.fetch("delete from journeys")


async def test_a_role_that_may_not_read_our_tables_is_not_taken(database: str, seed: Seed) -> None:
    await seed.connection.execute(f"revoke select on rollup_cohort from {READER_ROLE}")
    reader = await connect(database, 1, 1)
    [row] = await reader.fetch("select current_user as it")
    assert row["it"] != READER_ROLE
    await reader.close()


async def test_a_statement_has_a_time_limit(reader: Database) -> None:
    with pytest.raises(TooSlow):
        await reader.fetch("select pg_sleep(60)")
