"""Maps, status, health: what the service says about the pipeline and itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.metrics.app import clock
from tests.integration.metrics.seed import SHOP, SHOP_BEFORE, Seed, at

OTHER = SHOP.model_copy(update={"map": "app", "version": 7})


async def test_maps_are_listed_in_their_newest_live_version(api: httpx.AsyncClient, seed: Seed) -> None:
    for definition in (SHOP, SHOP_BEFORE, OTHER):
        await seed.map(definition)
    answer = (await api.get("/v1/maps")).json()
    assert [(one["map"], one["version"]) for one in answer["data"]] == [("app", 7), ("shop", 2)]
    assert [(one["version"], one["live"]) for one in answer["data"][1]["versions"]] == [(2, True), (1, True)]
    assert answer["next_cursor"] is None


async def test_maps_come_in_pages(api: httpx.AsyncClient, seed: Seed) -> None:
    for definition in (SHOP, OTHER):
        await seed.map(definition)
    first = (await api.get("/v1/maps?limit=1")).json()
    second = (await api.get("/v1/maps", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert [one["map"] for one in first["data"] + second["data"]] == ["app", "shop"]
    assert second["next_cursor"] is None


async def test_a_map_tells_its_stages_rules_and_targets(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map()
    shown = (await api.get("/v1/maps/shop")).json()
    assert (shown["title"], shown["timezone"], shown["timeout"]) == ("The shop", "Europe/Berlin", 14 * 86400)
    assert shown["goal"] == [{"event": ["Order Completed"]}]
    assert [stage["name"] for stage in shown["stages"]] == ["awareness", "consideration", "purchase"]
    assert shown["stages"][0]["target"]["conversion"] == 0.5
    assert shown["stages"][1] | {"goal": 0, "owner": 0, "notes": 0} == {
        "name": "consideration", "position": 1, "when": [{"event": ["Product Viewed"]}], "timeout": None, "stall": 3600,
        "goal": 0, "owner": 0, "notes": 0, "target": None,
    }  # fmt: skip


async def test_an_older_live_version_can_be_asked_for(api: httpx.AsyncClient, seed: Seed) -> None:
    for definition in (SHOP, SHOP_BEFORE):
        await seed.map(definition)
    assert (await api.get("/v1/maps/shop?version=1")).json()["version"] == 1


async def test_a_new_version_is_the_default_soon(api: httpx.AsyncClient, seed: Seed, app: Any) -> None:
    await seed.map(SHOP_BEFORE)
    assert (await api.get("/v1/maps/shop/funnel")).json()["version"] == 1
    await seed.map(SHOP)
    app.state.room.catalogues._kept = None
    assert (await api.get("/v1/maps/shop/funnel")).json()["version"] == 2


async def test_a_source_that_is_only_in_the_data_can_be_asked_for(api: httpx.AsyncClient, seed: Seed) -> None:
    map_id = await seed.map()
    await seed.connection.execute(
        "insert into cells (map_id, segment, channel, acquisition, source) values ($1, '', 'web', '', 'old')", map_id
    )
    assert (await api.get("/v1/maps/shop/funnel?source=old")).status_code == 200


async def test_status_tells_positions_and_lag(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map()
    await seed.partition(at("23 10:00"), next_offset=90, end_offset=100)
    await seed.partition(at("23 09:00"), partition=1, owner="")
    await seed.partition(at("1"), topic="touchpoints.rejected", next_offset=1, end_offset=5)
    answer = (await api.get("/v1/status")).json()
    assert (answer["as_of"], answer["lag"]) == ("2026-11-23T09:00:00Z", 10)
    assert [(p["topic"], p["partition"], p["lag"], p["owner"]) for p in answer["partitions"]] == [
        ("touchpoints", 0, 10, "one"), ("touchpoints", 1, 0, None), ("touchpoints.rejected", 0, 4, "one"),
    ]  # fmt: skip
    assert answer["maps"] == [
        {"map": "shop", "versions": [{"version": 2, "live": True, "live_since": "2026-11-01T00:00:00Z"}]}
    ]


async def test_status_tells_what_was_refused_and_why(api: httpx.AsyncClient, seed: Seed) -> None:
    for row in [
        ("touchpoints.rejected", "site", "identifier_missing", 3),
        ("touchpoints.rejected", "till", "identifier_missing", 2),
        ("touchpoints", "", "undecodable", 1),
    ]:  # fmt: skip
        await seed.connection.execute("insert into dead_letter_counts values ($1, $2, $3, $4)", *row)
    answer = (await api.get("/v1/status")).json()
    assert answer["rejected"] == {"identifier_missing": 5}
    assert answer["dead_letters"] == {"undecodable": 1}


async def test_status_of_an_empty_pipeline(api: httpx.AsyncClient) -> None:
    answer = (await api.get("/v1/status")).json()
    assert (answer["partitions"], answer["maps"], answer["rejected"], answer["lag"]) == ([], [], {}, 0)


@pytest.mark.parametrize(("behind", "status"), [(0, 200), (3600 * 1_000_000, 503)])
async def test_ready_is_who_has_fresh_answers(api: httpx.AsyncClient, seed: Seed, behind: int, status: int) -> None:
    await seed.partition(clock() - behind)
    answer = await api.get("/readyz")
    assert answer.status_code == status
    assert answer.json()["checks"]["database"] == "ok"


async def test_not_ready_before_anything_was_stitched(api: httpx.AsyncClient) -> None:
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert "stitcher" in answer.json()["checks"]["freshness"]


async def test_alive_needs_no_key(api: httpx.AsyncClient) -> None:
    del api.headers["authorization"]
    assert (await api.get("/healthz")).json() == {"status": "ok"}


async def test_requests_are_measured_by_route_and_never_by_id(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map()
    await api.get("/v1/maps/shop/funnel")
    await api.get("/v1/profiles/user_id:somebody")
    await api.get("/no/such/path")
    figures = (await api.get("/metrics")).text
    assert 'seconds_count{method="GET",route="/v1/maps/{map}/funnel",status="200"} 1.0' in figures
    assert 'route="/v1/profiles/{who}",status="404"' in figures
    assert "somebody" not in figures
    assert "such" not in figures


async def test_the_connections_cannot_write(app: Any) -> None:
    database = app.state.room.database
    [row] = await database.fetch("select current_setting('default_transaction_read_only') as it")
    assert row["it"] == "on"
    [row] = await database.fetch("select current_setting('statement_timeout') as it")
    assert row["it"] == "10s"


async def test_the_documentation_has_an_example_for_every_question(api: httpx.AsyncClient) -> None:
    described = (await api.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert {method for path in described["paths"].values() for method in path} == {"get"}
    aggregates = [name for name in described["components"]["schemas"] if name.endswith("Answer")]
    assert "FunnelAnswer" in aggregates
    assert described["components"]["schemas"]["FunnelAnswer"]["examples"][0]["journeys"]["started"] == 600
    assert (await api.get("/docs")).status_code == 200
