"""The journeys behind a count."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.identifiers import uid
from tests.integration.metrics.seed import Seed, Told, at

LOST, COMPLETED = 2, 1


@pytest.fixture
async def shop(seed: Seed) -> list[str]:
    """Journeys 0 to 4, each beginning later than the one before."""
    map_id = await seed.map()
    await seed.partition(at("23 10:00"))
    bought: dict[str, Any] = {"status": COMPLETED, "closed": at("17 12:00"), "converted": at("3 12:00"), "value": 20.5}
    back = [(0, at("20 10:00")), (2, at("20 11:00")), (1, at("20 12:00"))]
    told = [
        Told([(0, at("2 10:00"))], status=LOST, closed=at("16 10:00"), restated=True),
        Told([(0, at("3 10:00")), (2, at("3 12:00"))], segments=["vip"], **bought),
        Told(back, converted=at("20 11:00"), channel="app", source="till"),
        Told([(1, at("21 10:00"))], stalled=True, acquisition="Paid Search"),
        Told([(1, at("21 10:00")), (0, at("21 11:00"))], acquisition="Paid Search", who="email:e@x"),
    ]
    return [str(await seed.journey(map_id, one)) for one in told]


async def listed(api: httpx.AsyncClient, **asked: Any) -> Any:
    answer = await api.get("/v1/maps/shop/journeys", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {0, 1, 2, 3, 4}), ({"stage": "consideration"}, {2, 3}), ({"status": "open"}, {2, 3, 4}),
        ({"status": "lost"}, {0}), ({"furthest": "purchase"}, {1, 2}), ({"reached": "consideration"}, {1, 2, 3, 4}),
        ({"entered": "awareness"}, {0, 1, 2, 4}), ({"acquisition": ""}, {0, 1, 2}),
        ({"converted": "true"}, {1, 2}), ({"converted": "false", "status": "open"}, {3, 4}), ({"stalled": "true"}, {3}),
        ({"segment": "vip"}, {1}), ({"channel": "app"}, {2}), ({"source": "till"}, {2}),
        ({"from": "2026-11-03T10:00:00Z", "to": "2026-11-20T10:30:00Z"}, {1, 2}),
    ],
)  # fmt: skip
async def test_lists_what_is_asked_for(
    api: httpx.AsyncClient, shop: list[str], asked: dict[str, str], found: set[int]
) -> None:
    rows = (await listed(api, **asked))["data"]
    assert {shop.index(row["journey_id"]) for row in rows} == found


async def test_a_row_says_all_there_is_to_say(api: httpx.AsyncClient, shop: list[str]) -> None:
    [row] = (await listed(api, segment="vip"))["data"]
    assert row == {
        "journey_id": shop[1], "profile_id": str(uid("user_id:u1")), "map": "shop", "version": 2, "stage": "purchase",
        "since": "2026-11-03T12:00:00Z", "furthest": "purchase", "status": "completed", "stalled": False,
        "converted": True, "converted_at": "2026-11-03T12:00:00Z", "value": 20.5, "started_at": "2026-11-03T10:00:00Z",
        "last_at": "2026-11-03T12:00:00Z", "deadline": "2026-11-17T12:00:00Z", "closed_at": "2026-11-17T12:00:00Z",
        "closed_early": False, "channel": "web", "acquisition": None, "source": "site", "segments": ["vip"],
        "entered": ["awareness", "purchase"], "touchpoints": 2, "restated": False,
    }  # fmt: skip


async def test_pages_follow_each_other_without_gap_or_overlap(api: httpx.AsyncClient, shop: list[str]) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await listed(api, limit=2, **cursor)
        seen += [row["journey_id"] for row in answer["data"]]
        cursor = {"cursor": answer["next_cursor"]}
    assert answer["next_cursor"] is None
    assert sorted(seen) == sorted(shop)
    assert len(seen) == 5
    assert seen[2:] == [shop[2], shop[1], shop[0]]


async def test_a_full_last_page_has_no_next(api: httpx.AsyncClient, shop: list[str]) -> None:
    assert (await listed(api, limit=5))["next_cursor"] is None


async def test_says_how_many_were_restated(api: httpx.AsyncClient, shop: list[str]) -> None:
    answer = await listed(api)
    assert answer["restated"] == 1
    assert [row["journey_id"] for row in answer["data"] if row["restated"]] == [shop[0]]


CUTS: list[dict[str, str]] = [
    {}, {"channel": "app"}, {"segment": "vip"}, {"from": "2026-11-03T10:20:00Z", "to": "2026-11-21T09:00:00Z"},
]  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
async def test_the_list_behind_every_count_is_as_long_as_the_count(
    api: httpx.AsyncClient, shop: list[str], cut: dict[str, str]
) -> None:
    async def length(**filters: str) -> int:
        return len((await listed(api, **cut, **filters))["data"])

    funnel = (await api.get("/v1/maps/shop/funnel", params=cut)).json()
    for stage in funnel["stages"]:
        assert stage["reached"] == await length(reached=stage["stage"])
        assert stage["entered"] == await length(entered=stage["stage"])
        for status, n in stage["left"].items():
            assert n == await length(furthest=stage["stage"], status=status)
    assert funnel["journeys"]["converted"] == await length(converted="true")
    for stage in (await api.get("/v1/maps/shop/drop-off", params=cut)).json()["stages"]:
        assert stage["lost"] == await length(stage=stage["stage"], status="lost")
    for stage in (await api.get("/v1/maps/shop/now", params=cut)).json()["stages"]:
        assert stage["open"] == await length(stage=stage["stage"], status="open")
        assert stage["stalled"] == await length(stage=stage["stage"], stalled="true")
