"""Clients without a key: Snowplow's trackers and CloudEvents' senders, known by their app ids."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.events.structured_event import StructuredEvent
from snowplow_tracker.subject import Subject
from snowplow_tracker.tracker import Tracker

from tests.integration.ingest.conftest import Service, Written, basic, fresh

TP2 = "/com.snowplowanalytics.snowplow/tp2"
PAGE = {"origin": "https://own.example"}


def payload(**fields: Any) -> dict[str, Any]:
    return {"e": "pv", "eid": fresh(), "duid": "d1", "aid": "own-app", "p": "web", "tv": "js-4.10.1", **fields}


def event(**attributes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": fresh(), "type": "receipt", "source": "/till/7", "subject": "u1", **attributes}


async def test_a_tracker_in_a_page_sends_with_its_cookies_and_no_key(
    anybody: httpx.AsyncClient, written: Written
) -> None:
    events = [payload(), payload(aid="other"), payload(e="xx")]
    answer = await anybody.post(TP2, json={"schema": "s", "data": events}, headers=PAGE | {"cookie": "_sp_id.1=x"})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
    assert answer.headers["access-control-allow-origin"] == "https://own.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    found = await written.touchpoints(*(one["eid"] for one in events))
    assert [(one.source, one.ids) for one in found] == [("own-pages", {"anonymous_id": "d1"})] * 2
    [letter] = await written.letters(events[2]["eid"])
    assert (letter.reason, letter.source) == ("type_unknown", "own-pages")


async def test_a_key_wins_over_the_app_id(anybody: httpx.AsyncClient, written: Written) -> None:
    sent = payload()
    await anybody.post(TP2, json={"data": [sent]}, headers=basic("shop-key"))
    assert (await written.touchpoint(sent["eid"])).source == "shop"


async def test_a_pixel_gets_an_image(anybody: httpx.AsyncClient, written: Written) -> None:
    sent = payload(e="se", se_ac="Überblick")
    answer = await anybody.get("/i", params=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert (await written.touchpoint(sent["eid"])).event == "Überblick"


@pytest.mark.parametrize(("aid", "code"), [("nobody's", "key_unknown"), (None, "key_missing")])
async def test_an_unknown_app_is_refused_for_good(anybody: httpx.AsyncClient, aid: str | None, code: str) -> None:
    answer = await anybody.post(TP2, json={"data": [payload(aid=aid)]})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert aid is None or "app_ids" in answer.json()["message"]


async def test_a_body_that_is_too_large_is_refused_for_good(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post(TP2, content=b" " * (5 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (422, "body_too_large")


async def test_a_tracker_gives_up_what_is_too_large_and_goes_on(service: Service) -> None:
    told: list[tuple[int, int]] = []

    def track() -> int:
        emitter = Emitter(
            "127.0.0.1", "http", service.port, batch_size=1, on_success=lambda sent: told.append((len(sent), 0)),
            on_failure=lambda sent, unsent: told.append((sent, len(unsent))),
        )  # fmt: skip
        tracker = Tracker("n", emitter, app_id="own-app", subject=Subject().set_user_id("u1"))
        for label in ("small", "x" * (6 * 1024 * 1024), "small"):
            tracker.track(StructuredEvent("shop", "add", label=label))
        emitter.cancel_flush_timer()
        left: int = emitter.event_store.size()
        return left

    assert await asyncio.to_thread(track) == 0
    assert told == [(1, 0), (0, 1), (1, 0)]


async def test_as_many_events_as_a_body_holds_are_taken(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post(TP2, json={"data": [payload()] * 2501})
    assert answer.json()["accepted"] == 2501


async def test_an_oversize_event_is_kept_as_a_dead_letter(anybody: httpx.AsyncClient, written: Written) -> None:
    sent = payload(page="x" * 40_000)
    answer = await anybody.post(TP2, json={"data": [sent]})
    assert (answer.status_code, answer.json()["rejected"][0]["reason"]) == (200, "too_large")
    [letter] = await written.letters(sent["eid"])
    assert "x" * 40_000 in letter.data


async def test_a_cloudevent_in_each_mode_arrives(anybody: httpx.AsyncClient, written: Written) -> None:
    one, two, three = event(), event(data={"total": 1}), event(source="/till/8")
    headers = {f"ce-{name}": value for name, value in one.items()} | {"ce-subject": b"Zo\xeb 100%"}
    answers = [
        await anybody.put("/events", content=chunks(b'{"a":1}'), headers=headers | {"content-type": "text/json"}),
        await anybody.post("/events/", json=two, headers={"content-type": "application/cloudevents+json"}),
        await anybody.post("/events", json=[three, {}], headers={"content-type": "application/cloudevents-batch+json"}),
    ]
    assert [(one.status_code, one.json()["accepted"]) for one in answers] == [(202, 1)] * 3
    assert [wrong["reason"] for wrong in answers[2].json()["rejected"]] == ["attribute_missing"]
    found = await written.touchpoints(one["id"], two["id"], three["id"])
    assert [(one.source, one.event, one.channel) for one in found] == [("till", "receipt", "store")] * 3
    assert [one.ids["user_id"] for one in found] == ["Zoë 100%", "u1", "u1"]
    assert [one.properties for one in found] == [{"a": 1}, {"total": 1}, {}]


async def chunks(body: bytes) -> Any:
    for byte in body:
        yield bytes([byte])


async def test_a_webhook_sends_its_key_in_the_query(anybody: httpx.AsyncClient, written: Written) -> None:
    sent = event(source="anywhere")
    answer = await anybody.post(
        "/events", params={"access_token": "shop-key"}, json=sent,
        headers={"content-type": "application/cloudevents+json"},
    )  # fmt: skip
    assert answer.status_code == 202
    assert (await written.touchpoint(sent["id"])).source == "shop"


async def test_a_webhook_may_ask_first(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.options(
        "/events", headers={"webhook-request-origin": "events.example", "webhook-request-rate": "120"}
    )
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "events.example"
    assert answer.headers["webhook-allowed-rate"] == "*"


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("application/json", 415, "content_type_unknown"),
        ("application/cloudevents+xml", 415, "content_type_unknown"),
        ("application/cloudevents+json", 400, "attribute_missing"),
    ],
)
async def test_what_is_no_cloudevent_is_refused(
    anybody: httpx.AsyncClient, content_type: str, status: int, code: str
) -> None:
    answer = await anybody.post("/events", content=b"{}", headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
