"""The cohort funnel, counted by hand."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from tests.integration.metrics.seed import SHOP_BEFORE, Seed, Told, at

LOST, COMPLETED = 2, 1


@pytest.fixture
async def shop(seed: Seed) -> int:
    """Four journeys: one lost early, one completed, two open of which one has converted."""
    map_id = await seed.map()
    await seed.partition(at("23 10:00"))
    await seed.journey(map_id, Told([(0, at("2 10:00"))], status=LOST, closed=at("16 10:00")))
    bought = [(0, at("3 10:00")), (1, at("3 11:00")), (2, at("3 12:00"))]
    await seed.journey(
        map_id,
        Told(bought, status=COMPLETED, closed=at("17 12:00"), converted=at("3 12:00"), value=20.5, segments=["vip"]),
    )
    back = [(0, at("20 10:00")), (2, at("20 11:00")), (0, at("20 12:00"))]
    await seed.journey(map_id, Told(back, converted=at("20 11:00"), value=4.25, channel="app", source="till"))
    await seed.journey(map_id, Told([(1, at("21 10:00"))], stalled=True, restated=True, acquisition="Paid Search"))
    return map_id


async def test_counts_every_journey_once(api: httpx.AsyncClient, shop: int) -> None:
    answer = (await api.get("/v1/maps/shop/funnel")).json()
    assert answer["journeys"] == {"started": 4, "open": 2, "completed": 1, "lost": 1, "converted": 2, "value": 24.75}
    assert [(s["stage"], s["position"], s["reached"], s["entered"]) for s in answer["stages"]] == [
        ("awareness", 0, 4, 3), ("consideration", 1, 3, 2), ("purchase", 2, 2, 2),
    ]  # fmt: skip
    assert [s["left"] for s in answer["stages"]] == [
        {"open": 0, "lost": 1, "completed": 0},
        {"open": 1, "lost": 0, "completed": 0},
        {"open": 1, "lost": 0, "completed": 1},
    ]


async def test_rates_are_to_the_next_stage_and_from_the_start(api: httpx.AsyncClient, shop: int) -> None:
    stages = (await api.get("/v1/maps/shop/funnel")).json()["stages"]
    assert [s["conversion"] for s in stages] == [0.75, 2 / 3, None]
    assert [s["from_start"] for s in stages] == [1.0, 0.75, 0.5]
    assert [s["target"] for s in stages] == [0.5, None, None]


async def test_says_what_it_is_about_and_how_fresh(api: httpx.AsyncClient, shop: int) -> None:
    answer = (await api.get("/v1/maps/shop/funnel")).json()
    assert (answer["map"], answer["version"], answer["from"], answer["to"]) == ("shop", 2, None, None)
    assert answer["as_of"] == "2026-11-23T10:00:00Z"
    assert answer["lag_seconds"] > 0
    assert answer["restated"] == 1


async def test_a_range_is_widened_to_whole_hours_and_echoed(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2026-11-03T11:59:59+01:00", "to": "2026-11-20T11:00:01.5+01:00"}
    answer = (await api.get("/v1/maps/shop/funnel", params=asked)).json()
    assert (answer["from"], answer["to"]) == ("2026-11-03T10:00:00Z", "2026-11-20T11:00:00Z")
    assert answer["journeys"]["started"] == 2


async def test_a_range_is_half_open(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2026-11-02T10:00:00Z", "to": "2026-11-03T10:00:00Z"}
    answer = (await api.get("/v1/maps/shop/funnel", params=asked)).json()
    assert answer["journeys"] == {"started": 1, "open": 0, "completed": 0, "lost": 1, "converted": 0, "value": 0.0}


async def test_a_plus_that_was_not_encoded_is_still_a_plus(api: httpx.AsyncClient, shop: int) -> None:
    answer = await api.get("/v1/maps/shop/funnel?from=2026-11-03T11:00:00+01:00")
    assert answer.json()["from"] == "2026-11-03T10:00:00Z"


@pytest.mark.parametrize(
    ("dimension", "value", "started"),
    [
        ("segment", "vip", 1), ("channel", "app", 1), ("channel", "phone", 0), ("source", "site", 3),
        ("acquisition", "Paid Search", 1), ("acquisition", "", 3), ("acquisition", "Direct", 0),
    ],
)  # fmt: skip
async def test_is_cut_by_what_journeys_came_with(
    api: httpx.AsyncClient, shop: int, dimension: str, value: str, started: int
) -> None:
    answer = (await api.get("/v1/maps/shop/funnel", params={dimension: value})).json()
    assert answer["journeys"]["started"] == started


async def test_a_cut_without_journeys_gives_zeros_and_nulls(api: httpx.AsyncClient, shop: int) -> None:
    answer = (await api.get("/v1/maps/shop/funnel?channel=phone")).json()
    assert answer["stages"][0] == {
        "stage": "awareness", "position": 0, "reached": 0, "entered": 0, "conversion": None, "from_start": None,
        "left": {"open": 0, "lost": 0, "completed": 0}, "target": 0.5, "touchpoints": 0,
        "experience": {"mean": None, "n": 0},
    }  # fmt: skip


async def test_another_live_version_has_its_own_numbers(api: httpx.AsyncClient, seed: Seed, shop: int) -> None:
    before = await seed.map(SHOP_BEFORE)
    await seed.journey(before, Told([(0, at("2 10:00"))]), SHOP_BEFORE)
    answer = (await api.get("/v1/maps/shop/funnel?version=1")).json()
    assert (answer["version"], answer["journeys"]["started"]) == (1, 1)
    assert (await api.get("/v1/maps/shop/funnel")).json()["version"] == 2


async def test_a_value_beyond_all_numbers_breaks_nothing(api: httpx.AsyncClient, seed: Seed, shop: int) -> None:
    journey_id = None
    for hour in (1, 2):
        bought = [(2, at(f"22 0{hour}:00"))]
        journey_id = await seed.journey(shop, Told(bought, converted=at("22 02:00"), value=1.5e308))
    visits = [[2, at("22 02:00"), "t", at("22 02:00"), 1, 1, at("22 02:00"), "t", str(10**20)]]
    packed = msgspec.msgpack.encode(visits)
    await seed.connection.execute("update journeys set visits = $1 where journey_id = $2", packed, journey_id)
    assert (await api.get("/v1/maps/shop/funnel")).json()["journeys"]["value"] > 1.7e308
    assert max(p["value"] for p in (await api.get("/v1/maps/shop/conversion")).json()["series"]) > 1.7e308
    assert (await api.get("/v1/maps/shop/journeys")).json()["data"][0]["value"] == 1.5e308


async def test_nothing_stitched_yet_is_as_old_as_can_be(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map()
    answer = (await api.get("/v1/maps/shop/funnel")).json()
    assert answer["as_of"] == "1970-01-01T00:00:00Z"
    assert answer["journeys"]["started"] == 0


async def test_is_as_fresh_as_the_partition_furthest_behind(api: httpx.AsyncClient, seed: Seed, shop: int) -> None:
    await seed.partition(at("23 09:00"), partition=1)
    await seed.partition(at("1 09:00"), partition=0, topic="touchpoints.rejected")
    assert (await api.get("/v1/maps/shop/funnel")).json()["as_of"] == "2026-11-23T09:00:00Z"
