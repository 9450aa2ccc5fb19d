"""Everything that is refused, with its status, its code and what it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from services.metrics.app import admit
from shared.keys import load_readers
from tests.integration.metrics.seed import SHOP_BEFORE, Seed

AGGREGATES = ("funnel", "conversion", "drop-off", "transitions", "now")
METRICS = ["/v1/maps", "/v1/maps/shop", "/v1/status", "/v1/stream", *(f"/v1/maps/shop/{path}" for path in AGGREGATES)]
PROFILES = [
    "/v1/maps/shop/journeys", "/v1/profiles/user_id:u1", "/v1/profiles/user_id:u1/journeys",
    "/v1/profiles/user_id:u1/touchpoints", "/v1/profiles/user_id:u1/links",
]  # fmt: skip


@pytest.fixture(autouse=True)
async def shop(seed: Seed) -> None:
    await seed.map()


async def refusal(api: httpx.AsyncClient, url: str, status: int, **more: Any) -> Any:
    answer = await api.get(url, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["message"] == problem["detail"]
    return problem


async def test_nobody_asks_without_a_key(api: httpx.AsyncClient) -> None:
    del api.headers["authorization"]
    for path in METRICS + PROFILES:
        assert (await refusal(api, path, 401))["code"] == "unauthenticated"
        assert (await api.get(path)).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Basic YWxsLWtleTo=", "all-key"])
async def test_an_unknown_key_is_no_key(api: httpx.AsyncClient, header: str) -> None:
    await refusal(api, "/v1/maps", 401, headers={"Authorization": header})


async def test_whoever_is_admitted_later_may_ask_at_once_and_nobody_else(
    api: httpx.AsyncClient, app: Any, tmp_path: Path
) -> None:
    (tmp_path / "readers.yaml").write_text("readers: [{name: new, keys: [new-key], scopes: [metrics]}]")
    admit(app, load_readers(tmp_path))
    await refusal(api, "/v1/maps", 401)
    assert (await api.get("/v1/maps", headers={"Authorization": "Bearer new-key"})).status_code == 200


async def test_customers_are_not_for_readers_of_aggregates(api: httpx.AsyncClient) -> None:
    for path in PROFILES:
        problem = await refusal(api, path, 403, headers={"Authorization": "Bearer metrics-key"})
        assert problem["code"] == "scope_missing"
        assert "profiles" in problem["message"]


async def test_aggregates_are_not_for_readers_of_customers(api: httpx.AsyncClient) -> None:
    for path in METRICS:
        await refusal(api, path, 403, headers={"Authorization": "Bearer profiles-key"})


async def test_an_unknown_map_is_not_found(api: httpx.AsyncClient) -> None:
    for path in (*AGGREGATES, "journeys", ""):
        problem = await refusal(api, f"/v1/maps/shpo/{path}".rstrip("/"), 404)
        assert problem["code"] == "map_unknown"
        assert "shop" in problem["message"]


async def test_a_map_that_is_no_longer_live_is_not_found(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.connection.execute("update map_versions set live = false")
    await refusal(api, "/v1/maps/shop/funnel", 404)


async def test_an_unknown_parameter_is_refused_by_name(api: httpx.AsyncClient) -> None:
    for path in METRICS + PROFILES:
        problem = await refusal(api, f"{path}?form=x", 422)
        assert problem["code"] == "parameter_unknown"
        assert "form" in problem["message"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("channel=fax", "web, app, email"), ("acquisition=Magic", "Paid Search"), ("segment=wip", "vip"),
        ("segment=", "vip"), ("source=nowhere", "site, till"), ("source=%00", "site"), ("version=7", "allowed are 2"),
        ("version=two", "version"), ("from=yesterday", "RFC 3339"), ("to=1700000000", "RFC 3339"),
        ("channel=web&channel=app", "more than once"),
        ("from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "not be before from"),
    ],
)  # fmt: skip
async def test_an_unknown_value_is_refused_with_what_is_allowed(api: httpx.AsyncClient, asked: str, named: str) -> None:
    for path in (*AGGREGATES, "journeys"):
        assert named in (await refusal(api, f"/v1/maps/shop/{path}?{asked}", 422))["message"]


async def test_known_versions_are_the_live_ones(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map(SHOP_BEFORE, live=False)
    problem = await refusal(api, "/v1/maps/shop/funnel?version=1", 422)
    assert problem["errors"] == [{"parameter": "version", "message": "1 is not allowed", "allowed": [2]}]


async def test_an_unknown_interval_is_refused(api: httpx.AsyncClient) -> None:
    problem = await refusal(api, "/v1/maps/shop/conversion?interval=year", 422)
    assert problem["errors"][0]["allowed"] == ["hour", "day", "week", "month"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("stage=checkout", "awareness, consideration, purchase"), ("furthest=x", "awareness"),
        ("reached=x", "awareness"), ("entered=x", "awareness"), ("status=gone", "open, completed, lost"),
        ("converted=perhaps", "converted"),
        ("stalled=2", "stalled"), ("limit=0", "limit"), ("limit=1001", "1000"), ("limit=many", "limit"),
        ("cursor=x", "next_cursor"), ("cursor=", "next_cursor"),
    ],
)  # fmt: skip
async def test_an_unknown_filter_is_refused(api: httpx.AsyncClient, asked: str, named: str) -> None:
    assert named in (await refusal(api, f"/v1/maps/shop/journeys?{asked}", 422))["message"]


async def test_a_version_of_no_map_is_refused(api: httpx.AsyncClient) -> None:
    assert "map" in (await refusal(api, "/v1/profiles/user_id:u1/journeys?version=2", 422))["message"]


async def test_a_path_that_is_none_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await refusal(api, "/v2/maps", 404))["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_questions_are_only_asked_with_get(api: httpx.AsyncClient, method: str) -> None:
    answer = await api.request(method, "/v1/maps/shop/funnel")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


async def test_a_database_that_takes_too_long_is_not_waited_for(api: httpx.AsyncClient, seed: Seed, app: Any) -> None:
    await api.get("/v1/maps")
    pool = app.state.room.database._pool
    for _ in range(4):
        async with pool.acquire() as connection:
            await connection.execute("set statement_timeout = '50ms'")
    async with seed.connection.transaction():
        await seed.connection.execute("lock table rollup_cohort in access exclusive mode")
        answer = await api.get("/v1/maps/shop/funnel")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "too_slow", "5")


async def test_a_database_that_went_away_is_a_503_and_comes_back(
    api: httpx.AsyncClient, seed: Seed, database: str
) -> None:
    assert (await api.get("/v1/status")).status_code == 200
    name = database.rpartition("/")[2].partition("?")[0]
    await seed.connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name
    )
    statuses = [(await api.get("/v1/status")).status_code for _ in range(10)]
    assert set(statuses) <= {200, 503}
    assert statuses[-1] == 200
