"""Drop-off, conversion, transitions, now: counted by hand."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.metrics.app import clock
from shared.touchpoint import HOUR, MINUTE, SECOND
from tests.integration.metrics.seed import Seed, Told, at

LOST, COMPLETED = 2, 1


@pytest.fixture
async def shop(seed: Seed) -> int:
    map_id = await seed.map()
    await seed.partition(at("23 10:00"))
    bought = [(0, at("2 22:30")), (1, at("2 23:30")), (2, at("3 01:30"))]
    await seed.journey(map_id, Told(bought, status=COMPLETED, closed=at("17 01:30"), converted=at("3 01:30"), value=10))
    await seed.journey(
        map_id, Told([(0, at("3 10:00")), (1, at("3 10:30"))], status=LOST, closed=at("17 10:30"), felt=-0.5)
    )
    await seed.journey(
        map_id, Told([(0, at("5 10:00")), (1, at("5 11:00")), (0, at("5 12:00"))], status=LOST, closed=at("19 12:00"))
    )
    await seed.journey(map_id, Told([(1, at("5 10:00"))], converted=at("5 10:00"), value=1.5, channel="app"))
    return map_id


async def ask(api: httpx.AsyncClient, path: str, **asked: Any) -> Any:
    answer = await api.get(f"/v1/maps/shop/{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_drop_off_is_where_the_last_visit_was(api: httpx.AsyncClient, shop: int) -> None:
    stages = (await ask(api, "drop-off"))["stages"]
    assert [(s["stage"], s["entered"], s["lost"], s["open"], s["completed"]) for s in stages] == [
        ("awareness", 3, 1, 0, 0), ("consideration", 4, 1, 1, 0), ("purchase", 1, 0, 0, 1),
    ]  # fmt: skip
    assert stages[1]["share"] == 0.25
    assert stages[1]["interval"] == pytest.approx([0.0456, 0.6994], abs=1e-4)
    assert stages[1]["experience"] == {"mean": -0.5, "n": 1}


async def test_drop_off_of_nothing_is_null(api: httpx.AsyncClient, shop: int) -> None:
    stage = (await ask(api, "drop-off", channel="phone"))["stages"][0]
    assert (stage["share"], stage["interval"], stage["lost"]) == (None, None, 0)


async def test_conversion_is_by_days_of_the_maps_zone(api: httpx.AsyncClient, shop: int) -> None:
    answer = await ask(api, "conversion")
    assert answer["interval"] == "day"
    assert [(p["start"], p["started"], p["converted"], p["rate"]) for p in answer["series"]] == [
        ("2026-11-01T23:00:00Z", 1, 1, 1.0), ("2026-11-02T23:00:00Z", 1, 0, 0.0),
        ("2026-11-03T23:00:00Z", 0, 0, None), ("2026-11-04T23:00:00Z", 2, 1, 0.5),
    ]  # fmt: skip
    assert answer["series"][3] | {"start": None} == {
        "start": None, "started": 2, "converted": 1, "completed": 0, "lost": 1, "open": 1, "rate": 0.5, "value": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "starts"),
    [
        ("week", {"2026-11-01T23:00:00Z": 4}), ("month", {"2026-10-31T23:00:00Z": 4}),
    ],
)  # fmt: skip
async def test_weeks_and_months_add_up(
    api: httpx.AsyncClient, shop: int, interval: str, starts: dict[str, int]
) -> None:
    series = (await ask(api, "conversion", interval=interval))["series"]
    assert {point["start"]: point["started"] for point in series} == starts


async def test_a_range_of_hours_is_filled(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2026-11-03T09:00:00Z", "to": "2026-11-03T12:00:00Z", "interval": "hour"}
    series = (await ask(api, "conversion", **asked))["series"]
    assert [(p["start"][11:16], p["started"]) for p in series] == [("09:00", 0), ("10:00", 1), ("11:00", 0)]


async def test_days_cut_at_an_hour_hold_only_what_is_in_the_range(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2026-11-05T11:00:00Z", "to": "2026-11-07T11:00:00Z"}
    series = (await ask(api, "conversion", **asked))["series"]
    assert [(p["start"][:10], p["started"]) for p in series] == [
        ("2026-11-04", 0),
        ("2026-11-05", 0),
        ("2026-11-06", 0),
    ]


async def test_a_series_without_end_is_refused(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2001-01-01T00:00:00Z", "to": "2020-01-01T00:00:00Z", "interval": "hour"}
    answer = await api.get("/v1/maps/shop/conversion", params=asked)
    assert answer.status_code == 422
    assert "10000 points" in answer.json()["message"]


async def test_no_journeys_no_points(api: httpx.AsyncClient, seed: Seed) -> None:
    await seed.map()
    assert (await ask(api, "conversion"))["series"] == []


async def test_transitions_in_any_direction_with_starts_and_ends(api: httpx.AsyncClient, shop: int) -> None:
    moves = (await ask(api, "transitions"))["transitions"]
    assert [(m["from"], m["to"], m["count"]) for m in moves] == [
        (None, "awareness", 3), (None, "consideration", 1), ("awareness", "consideration", 3), ("awareness", "lost", 1),
        ("consideration", "awareness", 1), ("consideration", "purchase", 1), ("consideration", "lost", 1),
        ("purchase", "completed", 1),
    ]  # fmt: skip
    assert moves[0]["median_seconds"] is None
    assert moves[2]["median_seconds"] == pytest.approx(3600, rel=0.05)
    assert moves[7]["median_seconds"] == pytest.approx(14 * 86400, rel=0.05)


async def test_transitions_are_by_when_they_happened(api: httpx.AsyncClient, shop: int) -> None:
    asked = {"from": "2026-11-03T00:00:00Z", "to": "2026-11-04T00:00:00Z"}
    moves = (await ask(api, "transitions", **asked))["transitions"]
    assert [(m["from"], m["to"], m["count"]) for m in moves] == [
        (None, "awareness", 1), ("awareness", "consideration", 1), ("consideration", "purchase", 1),
    ]  # fmt: skip


async def test_no_transitions_is_an_empty_list(api: httpx.AsyncClient, shop: int) -> None:
    assert (await ask(api, "transitions", channel="phone"))["transitions"] == []


async def test_now_counts_who_stands_where(api: httpx.AsyncClient, seed: Seed, shop: int) -> None:
    await seed.journey(shop, Told([(0, at("20"))], stalled=True))
    answer = await ask(api, "now")
    assert [(s["stage"], s["open"], s["stalled"]) for s in answer["stages"]] == [
        ("awareness", 1, 1), ("consideration", 1, 0), ("purchase", 0, 0),
    ]  # fmt: skip
    assert answer["stages"][0]["entered"] == {"1m": 0, "1h": 0, "24h": 0}


async def test_now_counts_what_moved_lately(api: httpx.AsyncClient, seed: Seed) -> None:
    map_id, now = await seed.map(), clock()
    await seed.journey(map_id, Told([(0, now - 20 * HOUR), (1, now - 30 * MINUTE), (2, now - 10 * SECOND)]))
    await seed.journey(map_id, Told([(0, now - 26 * HOUR)]))
    stages = (await ask(api, "now"))["stages"]
    assert [s["entered"] for s in stages] == [
        {"1m": 0, "1h": 0, "24h": 1}, {"1m": 0, "1h": 1, "24h": 1}, {"1m": 1, "1h": 1, "24h": 1},
    ]  # fmt: skip
    assert [s["left"] for s in stages] == [
        {"1m": 0, "1h": 1, "24h": 1}, {"1m": 1, "1h": 1, "24h": 1}, {"1m": 0, "1h": 0, "24h": 0},
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["funnel", "conversion", "drop-off", "transitions", "now", "journeys"])
async def test_every_answer_says_what_it_is_about(api: httpx.AsyncClient, shop: int, path: str) -> None:
    answer = await ask(api, path, **{"from": "2026-11-02T22:59:00Z", "to": "2026-11-06T00:30:00Z"})
    said = {key: answer[key] for key in ("map", "version", "from", "to", "as_of", "restated")}
    assert said == {
        "map": "shop", "version": 2, "from": "2026-11-02T22:00:00Z", "to": "2026-11-06T01:00:00Z",
        "as_of": "2026-11-23T10:00:00Z", "restated": 0,
    }  # fmt: skip
    assert isinstance(answer["lag_seconds"], float)
