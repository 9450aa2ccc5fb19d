"""What a source wants done with its touchpoints, through HTTP: bots, consent, privacy, a tracking plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from shared.touchpoint import TOUCHPOINTS
from tests.integration.ingest.conftest import Service, Written, basic, fresh, track

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
AGREED = {"consent": {"categoryPreferences": {"analytics": True}}}
SOURCES = """
sources:
  - {name: plain, kind: browser, write_keys: [plain-key]}
  - name: careful
    kind: browser
    write_keys: [careful-key]
    bots: drop
    consent: {require: [analytics]}
    privacy: {drop: [properties.card], hash: [ids.email]}
    plan: {file: plans/shop.yaml, mode: reject, unplanned: warn}
  - {name: nameless, kind: browser, write_keys: [nameless-key], consent: {otherwise: anonymise}}
"""
PLAN = """
events:
  Order Completed: {required: [revenue], properties: {revenue: {type: number}}}
"""


@pytest.fixture(scope="module")
def policed(ingest_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = tmp_path_factory.mktemp("policies")
    (config / "plans").mkdir()
    for name, text in (("sources", SOURCES), ("readers", "readers: []"), ("plans/shop", PLAN)):
        (config / f"{name}.yaml").write_text(text)
    environment = {"DATABASE_URL": ingest_database, "THROUGHLINE_CONFIG": str(config), "KAFKA_PARTITIONS": "3",
                   "THROUGHLINE_HASH_KEY": "0123456789abcdef"}  # fmt: skip
    output = tmp_path_factory.mktemp("policed") / "output.log"
    with Service(environment, output).running() as service:
        service.wait_until_it_listens()
        yield service


@pytest.fixture
async def browser(policed: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=policed.url, headers={"user-agent": CHROME}, timeout=20) as client:
        yield client


async def send(client: httpx.AsyncClient, key: str, *items: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/batch", json={"batch": items}, headers={**basic(key), **headers})
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


async def figures(client: httpx.AsyncClient) -> str:
    return (await client.get("/metrics")).text


async def test_bots_are_marked_counted_or_refused(browser: httpx.AsyncClient, written: Written) -> None:
    person, bot, refused = track(), track(), track(context=AGREED)
    await send(browser, "plain-key", person)
    await send(browser, "plain-key", bot, **{"user-agent": GOOGLEBOT})
    told = await send(browser, "careful-key", refused, **{"user-agent": GOOGLEBOT})
    found = await written.touchpoints(person["messageId"], bot["messageId"])
    assert [("bot" in one.flags) for one in found] == [False, True]
    assert [one["reason"] for one in told["rejected"]] == ["bot"]
    assert 'throughline_touchpoints_bot_total{source="plain"} 1.0' in await figures(browser)


async def test_without_consent_nothing_is_kept_but_the_fact(browser: httpx.AsyncClient, written: Written) -> None:
    refused, agreed = track(traits={"email": "ada@b.example"}), track(context=AGREED)
    told = await send(browser, "careful-key", refused, agreed)
    assert [(one["index"], one["reason"]) for one in told["rejected"]] == [(0, "consent_missing")]
    told = await send(browser, "careful-key", track(context=AGREED), **{"sec-gpc": "1"})
    assert [one["reason"] for one in told["rejected"]] == ["consent_missing"]
    [letter] = await written.letters(refused["messageId"])
    assert (letter.reason, letter.source, letter.data, letter.request) == ("consent_missing", "careful", "", "")
    assert (await written.touchpoint(agreed["messageId"])).source == "careful"


async def test_who_refuses_may_stay_nameless(browser: httpx.AsyncClient, written: Written) -> None:
    item = track(anonymousId="a1", context={"ip": "203.0.113.77", "gpc": True}, traits={"email": "ada@b.example"})
    await send(browser, "nameless-key", item)
    found = await written.touchpoint(item["messageId"])
    assert (found.ids, found.traits, found.context) == ({"anonymous_id": "a1"}, {}, {"gpc": True})
    assert "anonymised" in found.flags


async def test_what_is_hidden_is_nowhere_on_the_log(browser: httpx.AsyncClient, written: Written) -> None:
    secret = fresh("ada") + "@b.example"
    context = {**AGREED, "ip": "203.0.113.77"}
    items = [
        track(type="identify", traits={"email": secret}, properties={"card": secret}, context=context),
        track(type="track", event=None, traits={"email": secret}, properties={"card": secret}, context=context),
    ]
    told = await send(browser, "careful-key", *items)
    assert [one["reason"] for one in told["rejected"]] == ["event_missing"]
    found = await written.touchpoint(items[0]["messageId"])
    assert set(found.ids) == {"user_id", "email"}
    assert found.context["ip"] == "203.0.113.0"
    [letter] = await written.letters(items[1]["messageId"])
    assert '"203.0.113.0"' in letter.data
    for topic in (TOUCHPOINTS, "touchpoints.rejected"):
        assert all(secret.encode() not in record.value for record in await written.records(topic))


async def test_what_breaks_the_plan_is_pointed_at_and_counted(browser: httpx.AsyncClient, written: Written) -> None:
    wrong = track(event="Order Completed", properties={"revenue": "12"}, context=AGREED)
    unplanned = track(event="Whatever", context=AGREED)
    told = await send(browser, "careful-key", wrong, unplanned)
    [rejected] = told["rejected"]
    assert (rejected["index"], rejected["reason"]) == (0, "plan_violated")
    assert rejected["message"].startswith("/properties/revenue: ")
    assert "plan_violated" in (await written.touchpoint(unplanned["messageId"])).flags
    counted = await figures(browser)
    assert 'throughline_plan_violations_total{event="Order Completed",source="careful"} 1.0' in counted
    assert 'throughline_plan_violations_total{event="(unplanned)"' in counted
    assert "Whatever" not in counted
