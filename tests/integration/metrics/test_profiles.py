"""One customer: who, where, what, and why we think so."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from shared.identifiers import uid
from shared.tables import Visit
from tests.integration.metrics.seed import SHOP_BEFORE, Seed, Told, at

LOST = 2


@pytest.fixture
async def ann(seed: Seed) -> int:
    """Ann (u1) has an email and a device that she shares with Bob (u2) from the 20th on."""
    map_id = await seed.map()
    await seed.partition(at("23 10:00"))
    await seed.profile("user_id:u1", touchpoints=3, traits={"tier": "gold", "age": 41})
    await seed.profile("user_id:u2", touchpoints=1)
    await seed.identifier("user_id:u1")
    await seed.identifier("user_id:u2")
    await seed.identifier("email:ann@example.com", "user_id:u1", degree=1)
    await seed.identifier("anonymous_id:a/1", "user_id:u2", degree=2)
    await seed.link("email:ann@example.com", "user_id:u1", at("10 10:00"), at("15 10:00"))
    await seed.link("anonymous_id:a/1", "user_id:u1", at("12 10:00"))
    await seed.link("anonymous_id:a/1", "user_id:u2", at("20 10:00"), at("21 10:00"))
    await seed.touchpoint("user_id:u1", "t1", at("12 10:00"), event="Order Completed", properties={"revenue": 5})
    await seed.touchpoint("anonymous_id:a/1", "t2", at("2 10:00"), type="page", event=None)
    await seed.touchpoint("email:ann@example.com", "t3", at("14 10:00"))
    await seed.touchpoint("anonymous_id:a/1", "t4", at("22 10:00"))
    await seed.journey(map_id, Told([(0, at("2 10:00"))], status=LOST, closed=at("11 10:00")))
    visits = [(0, at("12 09:00")), (2, at("12 10:00"))]
    await seed.journey(map_id, Told(visits, converted=at("12 10:00"), value=5, segments=["vip"], felt=0.5))
    return map_id


async def ask(api: httpx.AsyncClient, path: str, **asked: Any) -> Any:
    answer = await api.get(f"/v1/profiles/{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_says_who_it_is(api: httpx.AsyncClient, ann: int) -> None:
    answer = await ask(api, "user_id:u1")
    assert answer["profile_id"] == str(uid("user_id:u1"))
    assert answer["identifiers"] == [
        {"kind": "user_id", "value": "u1"}, {"kind": "email", "value": "ann@example.com"},
    ]  # fmt: skip
    assert answer["traits"] == {"tier": "gold", "age": 41}
    assert (answer["segments"], answer["touchpoints"], answer["as_of"]) == (["vip"], 3, "2026-11-23T10:00:00Z")


async def test_says_where_it_stands_on_each_map(api: httpx.AsyncClient, ann: int) -> None:
    shop = (await ask(api, "user_id:u1"))["journeys"]["shop"]
    stands = {key: shop[key] for key in ("stage", "since", "status", "deadline", "furthest", "value", "version")}
    assert stands == {
        "stage": "purchase", "since": "2026-11-12T10:00:00Z", "status": "open", "deadline": "2026-11-26T10:00:00Z",
        "furthest": "purchase", "value": 5.0, "version": 2,
    }  # fmt: skip


async def test_a_map_that_he_has_never_been_on_is_null(api: httpx.AsyncClient, ann: int) -> None:
    assert (await ask(api, "user_id:u2"))["journeys"] == {"shop": None}


@pytest.mark.parametrize("written", ["email:ann@example.com", "email:%20Ann%40Example.COM", str(uid("user_id:u1"))])
async def test_is_found_by_whatever_points_at_him(api: httpx.AsyncClient, ann: int, written: str) -> None:
    assert (await ask(api, written))["profile_id"] == str(uid("user_id:u1"))


async def test_a_value_may_hold_a_slash(api: httpx.AsyncClient, ann: int) -> None:
    path = "anonymous_id:" + quote("a/1", safe="")
    assert (await ask(api, path))["profile_id"] == str(uid("user_id:u2"))
    assert (await ask(api, f"{path}/journeys"))["data"] == []


async def test_the_id_of_a_profile_that_moved_away_leads_to_where_it_went(
    api: httpx.AsyncClient, seed: Seed, ann: int
) -> None:
    await seed.profile("email:ann@example.com", touchpoints=0)
    assert (await ask(api, str(uid("email:ann@example.com"))))["profile_id"] == str(uid("user_id:u1"))


@pytest.mark.parametrize("who", ["user_id:nobody", str(uid("user_id:nobody")), "email:%00", "user_id:%FF"])
async def test_who_is_not_in_yet_is_not_found(api: httpx.AsyncClient, ann: int, who: str) -> None:
    answer = await api.get(f"/v1/profiles/{who}")
    assert (answer.status_code, answer.json()["code"]) == (404, "profile_unknown")


@pytest.mark.parametrize(("who", "named"), [("nickname:x", "user_id"), ("somebody", "kind:value")])
async def test_what_is_no_identifier_is_refused(api: httpx.AsyncClient, ann: int, who: str, named: str) -> None:
    answer = await api.get(f"/v1/profiles/{who}")
    assert answer.status_code == 422
    assert named in answer.json()["message"]


async def test_history_has_visits_with_their_causes(api: httpx.AsyncClient, ann: int) -> None:
    latest, first = (await ask(api, "user_id:u1/journeys"))["data"]
    assert (first["status"], first["visits"][0]["left_at"]) == ("lost", "2026-11-11T10:00:00Z")
    assert [(v["stage"], v["entered_at"], v["left_at"], v["cause"]) for v in latest["visits"]] == [
        ("awareness", "2026-11-12T09:00:00Z", "2026-11-12T10:00:00Z", "t0"),
        ("purchase", "2026-11-12T10:00:00Z", None, "t1"),
    ]
    assert (latest["visits"][0]["experience"], latest["visits"][0]["experience_n"]) == (0.5, 1)


async def test_history_has_the_visits_that_lie_in_blocks_first(api: httpx.AsyncClient, seed: Seed, ann: int) -> None:
    journey_id = await seed.connection.fetchval("select journey_id from journeys where converted_at is not null")
    old = [Visit(n % 2, at("12 08:00") + n, f"b{n}", at("12 08:00") + n) for n in range(4)]
    for first in (2, 0):
        block = msgspec.msgpack.encode(old[first : first + 2])
        await seed.connection.execute("insert into visit_blocks values ($1, $2, $3)", journey_id, first, block)
    await seed.connection.execute("update journeys set sealed = 4 where journey_id = $1", journey_id)
    latest, _ = (await ask(api, "user_id:u1/journeys"))["data"]
    assert [visit["cause"] for visit in latest["visits"]] == ["b0", "b1", "b2", "b3", "t0", "t1"]


async def test_history_comes_in_pages(api: httpx.AsyncClient, ann: int) -> None:
    first = await ask(api, "user_id:u1/journeys", limit=1)
    second = await ask(api, "user_id:u1/journeys", limit=1, cursor=first["next_cursor"])
    assert [row["started_at"][:10] for row in first["data"] + second["data"]] == ["2026-11-12", "2026-11-02"]
    assert second["next_cursor"] is None


async def test_history_can_be_narrowed_to_a_version(api: httpx.AsyncClient, seed: Seed, ann: int) -> None:
    before = await seed.map(SHOP_BEFORE)
    await seed.journey(before, Told([(1, at("3 10:00"))]), SHOP_BEFORE)
    versions = [row["version"] for row in (await ask(api, "user_id:u1/journeys", map="shop"))["data"]]
    assert sorted(versions) == [1, 2, 2]
    assert [row["version"] for row in (await ask(api, "user_id:u1/journeys", map="shop", version=1))["data"]] == [1]


async def test_touchpoints_are_those_of_the_time_when_the_device_was_his(api: httpx.AsyncClient, ann: int) -> None:
    ann_did = (await ask(api, "user_id:u1/touchpoints"))["data"]
    assert [row["id"] for row in ann_did] == ["t3", "t1", "t2"]
    assert [row["id"] for row in (await ask(api, "user_id:u2/touchpoints"))["data"]] == ["t4"]


async def test_a_touchpoint_is_told_as_it_was_sent(api: httpx.AsyncClient, ann: int) -> None:
    row = (await ask(api, "user_id:u1/touchpoints"))["data"][1]
    assert row == {
        "id": "t1", "type": "track", "event": "Order Completed", "time": "2026-11-12T10:00:00Z",
        "received_at": "2026-11-12T10:00:00Z", "source": "site", "channel": "web", "acquisition": None,
        "ids": {"user_id": "u1"}, "properties": {"revenue": 5}, "traits": {}, "context": {}, "identifier": "user_id:u1",
        "because": [],
    }  # fmt: skip


async def test_a_touchpoint_says_why_it_is_his(api: httpx.AsyncClient, ann: int) -> None:
    row = (await ask(api, "user_id:u1/touchpoints"))["data"][2]
    assert row["because"] == [
        {"kind": "link", "lower": "anonymous_id:a/1", "higher": "user_id:u1", "time": "2026-11-12T10:00:00Z",
         "touchpoint_id": f"l{at('12 10:00')}"},
    ]  # fmt: skip


async def test_touchpoints_come_in_pages(api: httpx.AsyncClient, ann: int) -> None:
    first = await ask(api, "user_id:u1/touchpoints", limit=2)
    second = await ask(api, "user_id:u1/touchpoints", limit=2, cursor=first["next_cursor"])
    assert [row["id"] for row in first["data"] + second["data"]] == ["t3", "t1", "t2"]


async def test_what_a_shared_device_did_is_nobodys(api: httpx.AsyncClient, seed: Seed, ann: int) -> None:
    await seed.connection.execute("update identifiers set degree = 6 where key like 'anonymous_id:%'")
    assert [row["id"] for row in (await ask(api, "user_id:u1/touchpoints"))["data"]] == ["t3", "t1"]


async def test_a_revoked_link_counts_for_nothing_and_is_still_shown(
    api: httpx.AsyncClient, seed: Seed, ann: int
) -> None:
    await seed.connection.execute("update links set revoked = true where lower = $1", uid("email:ann@example.com"))
    assert [row["id"] for row in (await ask(api, "user_id:u1/touchpoints"))["data"]] == ["t1", "t2"]
    shown = {row["lower"]: row["revoked"] for row in (await ask(api, "user_id:u1/links"))["data"]}
    assert shown == {"email:ann@example.com": True, "anonymous_id:a/1": False}


async def test_aliased_users_are_one(api: httpx.AsyncClient, seed: Seed, ann: int) -> None:
    await seed.alias("user_id:u1", "user_id:u2", at("22 10:00"))
    rows = (await ask(api, "user_id:u1/touchpoints"))["data"]
    assert [row["id"] for row in rows] == ["t4", "t3", "t1", "t2"]
    assert [hop["kind"] for hop in rows[0]["because"]] == ["link", "alias"]
    assert "alias" in {row["kind"] for row in (await ask(api, "user_id:u1/links"))["data"]}


async def test_links_name_their_evidence(api: httpx.AsyncClient, ann: int) -> None:
    first = (await ask(api, "user_id:u1/links"))["data"][0]
    assert first == {
        "kind": "link", "lower": "email:ann@example.com", "higher": "user_id:u1",
        "earliest": {"time": "2026-11-10T10:00:00Z", "touchpoint_id": f"l{at('10 10:00')}"},
        "latest": {"time": "2026-11-15T10:00:00Z", "touchpoint_id": f"l{at('15 10:00')}"},
        "shared": False, "revoked": False, "reason": None,
    }  # fmt: skip


async def test_links_come_in_pages(api: httpx.AsyncClient, ann: int) -> None:
    seen: list[tuple[str, str]] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await ask(api, "user_id:u1/links", limit=1, **cursor)
        seen += [(row["lower"], row["higher"]) for row in answer["data"]]
        cursor = {"cursor": answer["next_cursor"]}
    assert seen == [
        ("email:ann@example.com", "user_id:u1"), ("anonymous_id:a/1", "user_id:u1"), ("anonymous_id:a/1", "user_id:u2"),
    ]  # fmt: skip
    assert answer["next_cursor"] is None
