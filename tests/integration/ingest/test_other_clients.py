"""Requests in the shapes that SDKs of PostHog, Jitsu, RudderStack and Segment's pixels were recorded to send."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from services.ingest.dialects.pixel import GIF
from tests.integration.ingest.conftest import Written, basic, fresh

PAGE = {"origin": "https://page.example", "content-type": "text/plain"}


def pageview(id_: str) -> dict[str, Any]:
    """As posthog-js sends it for somebody who has not logged in."""
    return {
        "uuid": id_, "event": "$pageview", "timestamp": "2026-11-20T10:00:00.123Z",
        "properties": {
            "$os": "Linux", "$browser": "Chrome", "$device_type": "Desktop", "$lib": "web", "$lib_version": "1.449.2",
            "$current_url": "https://shop.example/", "$host": "shop.example", "$pathname": "/", "title": "Café",
            "$raw_user_agent": "Mozilla/5.0", "$referrer": "https://www.google.com/", "distinct_id": "d-1",
            "$device_id": "d-1", "$is_identified": False, "$process_person_profile": False, "token": "shop-key",
            "$insert_id": "x", "$time": 1795168800.123,
        },
    }  # fmt: skip


async def test_posthog_in_the_browser_gzips_without_saying_so(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    body = {"api_key": "shop-key", "batch": [pageview(id_)], "sent_at": "2026-11-20T10:00:01.000Z"}
    answer = await anybody.post("/e/?ver=1.449.2", content=gzip.compress(json.dumps(body).encode()), headers=PAGE)
    assert (answer.status_code, answer.json()) == (200, {"status": "Ok", "accepted": 1, "rejected": []})
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    found = await written.touchpoint(id_)
    assert (found.type, found.ids, found.acquisition) == ("page", {"anonymous_id": "d-1"}, "Organic Search")
    assert (found.context["page"]["title"], found.context["userAgent"]) == ("Café", "Mozilla/5.0")
    assert "token" not in found.properties


async def test_posthog_in_the_browser_falls_back_to_a_form(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    form = {"data": b64encode(json.dumps(pageview(id_)).encode()).decode()}
    answer = await anybody.post("/i/v0/e/?compression=base64&retry_count=1", data=form)
    assert answer.json()["accepted"] == 1
    assert (await written.touchpoint(id_)).flags == ()  # a retry, whose `sent_at` says nothing


async def test_posthog_by_get(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    query = urlencode({"data": b64encode(json.dumps(pageview(id_)).encode()), "_": "1795168801000", "ip": "1"})
    assert (await anybody.get(f"/e/?{query}")).json()["status"] == "Ok"
    assert (await written.touchpoint(id_)).type == "page"


async def test_posthog_python(anybody: httpx.AsyncClient, written: Written) -> None:
    track, identify, bad = fresh(), fresh(), fresh()
    events = [
        {"uuid": track, "event": "Order Completed", "distinct_id": "u-1", "timestamp": "2026-11-20T10:00:00.123+00:00",
         "properties": {"$lib": "posthog-python", "$lib_version": "7.91.1", "revenue": 9.5, "$geoip_disable": True}},
        {"uuid": bad, "event": "Order Completed", "distinct_id": "", "properties": {}},
        {"uuid": identify, "event": "$set", "distinct_id": "u-1", "$set": {"plan": "pro"}, "properties": {}},
    ]  # fmt: skip
    body = {"batch": events, "historical_migration": False, "sent_at": "2026-11-20T10:00:01+00:00",
            "api_key": "till-key"}  # fmt: skip
    answer = await anybody.post("/batch/", json=body)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
    assert [(one["index"], one["reason"]) for one in answer.json()["rejected"]] == [(1, "identifier_missing")]
    [letter] = await written.letters(bad)
    assert json.loads(letter.data)["uuid"] == bad
    found, traits = await written.touchpoints(track, identify)
    assert (found.source, found.ids, found.properties["revenue"]) == ("till", {"user_id": "u-1"}, 9.5)
    assert (traits.type, traits.traits) == ("identify", {"plan": "pro"})


async def test_posthogs_new_api_answers_by_uuid(anybody: httpx.AsyncClient, written: Written) -> None:
    good, bad = fresh(), fresh()
    events = [
        {"uuid": good, "event": "e", "distinct_id": "u-1", "options": {}, "properties": {}},
        {"uuid": bad, "event": "", "distinct_id": "u-1", "options": {}, "properties": {}},
    ]
    headers = {"authorization": "Bearer till-key", "content-encoding": "gzip", "posthog-attempt": "1",
               "posthog-sdk-info": "posthog-python/7.91.1"}  # fmt: skip
    body = gzip.compress(json.dumps({"created_at": "2026-11-20T10:00:00Z", "batch": events}).encode())
    answer = await anybody.post("/i/v1/analytics/events", content=body, headers=headers)
    results = answer.json()["results"]
    assert (answer.status_code, results[good], results[bad]["result"]) == (200, {"result": "ok"}, "drop")
    assert (await written.touchpoint(good)).context["library"] == {"name": "posthog-python", "version": "7.91.1"}


async def test_over_a_rate_posthogs_clients_are_asked_to_wait(anybody: httpx.AsyncClient) -> None:
    statuses = [await anybody.post("/e/", json=pageview(fresh()) | {"api_key": "scarce-key"}) for _ in range(2)]
    first, second = statuses
    assert (first.status_code, second.status_code) == (200, 503)
    assert int(second.headers["retry-after"]) >= 1
    assert second.json()["code"] == "rate_exceeded"


async def test_jitsu_masks_the_key_in_its_body(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    event = {"type": "track", "event": "E", "userId": None, "anonymousId": "a1", "messageId": id_,
             "writeKey": "id:***", "sentAt": "2026-11-20T10:00:00Z", "timestamp": "2026-11-20T10:00:00Z",
             "context": {"library": {"name": "@jitsu/js"}}, "properties": {}}  # fmt: skip
    answer = await anybody.post("/api/s/track", json=event, headers={"x-write-key": "id:secret"})
    assert (answer.status_code, answer.json()["ok"], answer.json()["accepted"]) == (200, True, 1)
    assert (await written.touchpoint(id_)).source == "jitsu"
    unknown = await anybody.post("/api/s/s2s/track", json=event)
    assert (unknown.status_code, unknown.json()["code"]) == (401, "key_missing")


async def test_a_pixel_is_a_touchpoint_and_always_an_image(anybody: httpx.AsyncClient, written: Written) -> None:
    plain, folded, bad = fresh(), fresh(), fresh()
    query = {"writeKey": "shop-key", "userId": "u-1", "event": "Mail Opened", "properties.mail": "m"}
    data = {"type": "track", "writeKey": "shop-key", "userId": "u-1", "event": "E", "messageId": folded}
    asked = [
        ("/pixel/v1/track", query | {"messageId": plain}, {}),
        ("/v1/pixel/track", {"data": b64encode(json.dumps(data).encode()).decode()}, {}),
        ("/v1/pixel/track", {"writeKey": "shop-key", "messageId": bad}, {"throughline-rejected": "identifier_missing"}),
        ("/v1/pixel/track", {"data": "###"}, {"throughline-refused": "body_not_json"}),
        ("/v1/pixel/page", {"userId": "u-1"}, {"throughline-refused": "key_missing"}),
    ]
    for path, params, said in asked:
        answer = await anybody.get(path, params=params)
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/gif", GIF)
        assert {name: value for name, value in answer.headers.items() if name.startswith("throughline-")} == said
    first, second = await written.touchpoints(plain, folded)
    assert (first.event, first.properties, second.event) == ("Mail Opened", {"mail": "m"}, "E")
    assert [letter.reason for letter in await written.letters(bad)] == ["identifier_missing"]
    assert 'throughline_ingest_refused_total{code="body_not_json"}' in (await anybody.get("/metrics")).text


async def test_rudder_in_the_browser_learns_that_it_may_send(anybody: httpx.AsyncClient, written: Written) -> None:
    asked = "/sourceConfig/?p=npm&v=3.34.1&build=modern&writeKey=shop-key"
    for headers in (basic("shop-key"), {}):
        source = (await anybody.get(asked, headers=headers | PAGE)).json()["source"]
        assert (source["enabled"], source["config"], source["destinations"]) == (True, {}, [])
    assert (await anybody.get("/sourceConfig", headers=basic("nobody"))).status_code == 401
    id_ = fresh()
    event = {"type": "track", "event": "E", "channel": "web", "anonymousId": "a-1", "messageId": id_,
             "originalTimestamp": "2026-11-20T10:00:00.000Z", "context": {"traits": {}}}  # fmt: skip
    hints = {"anonymousid": b64encode(b"other").decode(), "sentat": "2026-11-20T10:00:00.100Z",
             "content-type": "application/json;charset=UTF-8"}  # fmt: skip
    answer = await anybody.post("/v1/track", content=json.dumps(event), headers=basic("till-key") | hints)
    assert answer.json()["accepted"] == 1
    found = await written.touchpoint(id_)
    assert (found.ids, found.channel) == ({"anonymous_id": "a-1"}, "store")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/array/shop-key/config"), ("GET", "/array/shop-key/config.js"), ("POST", "/flags"), ("POST", "/decide"),
     ("GET", "/sourceConfig"), ("GET", "/v1/projects/shop-key/settings"), ("POST", "/v1/m"), ("POST", "/e"),
     ("POST", "/api/s/track"), ("GET", "/v1/pixel/track")],
)  # fmt: skip
async def test_a_trailing_slash_never_redirects(client: httpx.AsyncClient, method: str, path: str) -> None:
    body = {"distinct_id": "d", "event": "e", "userId": "u"} if method == "POST" else None
    plain, slash = [await client.request(method, path + end, json=body, headers=PAGE) for end in ("", "/")]
    assert (plain.status_code, slash.status_code) == (200, 200)
    assert plain.content == slash.content
    assert slash.headers["access-control-allow-origin"] == "https://page.example"


async def test_posthog_in_the_browser_is_told_to_track_only(anybody: httpx.AsyncClient) -> None:
    config = (await anybody.get("/array/shop-key/config")).json()
    assert (config["sessionRecording"], config["hasFeatureFlags"], config["supportedCompression"]) == (
        False, False, ["gzip", "gzip-js"],
    )  # fmt: skip
    script = await anybody.get("/array/shop-key/config.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert '["shop-key"]' in script.text
    assert (await anybody.get("/array/nobody/config.js")).status_code == 401
    flags = (await anybody.post("/flags/?v=2", data={"data": "e30="})).json()
    assert (flags["featureFlags"], flags["errorsWhileComputingFlags"]) == ({}, False)
