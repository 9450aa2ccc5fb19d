"""Requests in the shapes that real SDKs were recorded to send."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator

import httpx

from tests.integration.ingest.conftest import Written, basic, fresh


async def test_segment_python(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    body = (
        '{"batch": [{"integrations": {}, "anonymousId": null, "userId": "42", '
        ' "timestamp": "2026-11-20T10:00:00.123+00:00",'
        ' "context": {"library": {"name": "analytics-python", "version": "2.4.0"}}, "type": "track",'
        ' "messageId": "' + id_ + '",'
        ' "event": "Caf\\u00e9 \\ud83d\\ude00", "properties": {"nan": NaN, "inf": -Infinity,'
        ' "big": 1180591620717411303424, "lone": "\\ud800"}}],'
        ' "sentAt": "2026-11-23T10:00:00.123+00:00", "writeKey": "shop-key"}'
    )
    headers = {"content-type": "application/json", "user-agent": "analytics-python/2.4.0", "content-encoding": "gzip"}
    answer = await anybody.post("/v1/batch", content=gzip.compress(body.encode()), headers=headers | basic("shop-key"))
    assert answer.json() == {"success": True, "accepted": 1, "rejected": []}
    found = await written.touchpoint(id_)
    assert (found.event, found.ids) == ("Café 😀", {"user_id": "42"})
    assert found.properties == {"nan": None, "inf": None, "big": 2.0**70, "lone": "\ufffd"}


async def test_segment_node(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = f"node-next-1790000000000-{fresh()}"
    event = {
        "type": "page", "name": "Home", "category": "c", "properties": {"category": "c"}, "anonymousId": "a1",
        "timestamp": "2026-11-20T10:00:00.123Z", "_metadata": {"nodeVersion": "24", "jsRuntime": "node"},
        "messageId": id_, "integrations": {}, "context": {"library": {"name": "@segment/analytics-node"}},
    }  # fmt: skip
    body = {"batch": [event], "writeKey": "shop-key", "sentAt": "2026-11-20T10:00:01.000Z"}
    answer = await anybody.post("/v1/batch", json=body, headers=basic("shop-key"))
    assert answer.json()["accepted"] == 1
    found = await written.touchpoint(id_)
    assert (found.event, found.channel, found.context["library"]) == (
        "Home",
        "web",
        {"name": "@segment/analytics-node"},
    )


async def test_segment_in_the_browser(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = f"ajs-next-{fresh()}"
    event = {
        "timestamp": "2026-11-20T10:00:00.123Z", "integrations": {}, "type": "page", "anonymousId": "a1",
        "properties": {"path": "/", "referrer": "https://www.google.com/", "search": "", "title": "T",
                       "url": "https://shop.example/"},
        "context": {"page": {"path": "/", "referrer": "https://www.google.com/", "search": "", "title": "T",
                             "url": "https://shop.example/"}, "userAgent": "Mozilla/5.0", "locale": "en-US"},
        "messageId": id_, "writeKey": "shop-key", "userId": None, "sentAt": "2026-11-20T10:00:00.200Z",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
    }  # fmt: skip
    headers = {"content-type": "text/plain", "origin": "https://shop.example"} | basic("shop-key")
    answer = await anybody.post("/v1/p", content=json.dumps(event), headers=headers)
    assert answer.json()["accepted"] == 1
    found = await written.touchpoint(id_)
    assert (found.type, found.acquisition, found.flags) == ("page", "Organic Search", ("time_corrected",))


async def test_rudder_python(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    event = {
        "type": "identify", "userId": "u1", "anonymousId": None, "channel": "server", "messageId": id_,
        "integrations": {"All": True}, "timestamp": "2026-11-20T10:00:00.123456+00:00",
        "context": {"traits": {"email": "Jo@Example.com"}, "library": {"name": "rudder-analytics-python"}},
    }  # fmt: skip
    body = gzip.compress(json.dumps({"batch": [event], "sentAt": "2026-11-20T10:00:01+00:00"}).encode())
    answer = await anybody.post("/v1/batch", content=body, headers={"content-encoding": "gzip"} | basic("shop-key"))
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert (await written.touchpoint(id_)).ids == {"user_id": "u1", "email": "jo@example.com"}


async def test_rudder_node_gzips_and_calls_it_a_form(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    event = {"type": "track", "event": "E", "userId": "u1", "messageId": id_,
             "originalTimestamp": "2026-11-20T10:00:00Z", "sentAt": "2026-11-20T10:00:02Z",
             "channel": "server", "_metadata": {"nodeVersion": "24"}}  # fmt: skip
    body = gzip.compress(json.dumps({"batch": [event], "timestamp": "x", "sentAt": "2026-11-20T10:00:02Z"}).encode())
    headers = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"} | basic("shop-key")
    assert (await anybody.post("/v1/batch", content=body, headers=headers)).json()["accepted"] == 1
    assert (await written.touchpoint(id_)).event == "E"


async def test_rudder_beacon(anybody: httpx.AsyncClient, written: Written) -> None:
    id_ = fresh()
    event = {"type": "track", "event": "E", "anonymousId": "a1", "messageId": id_}
    body = json.dumps({"batch": [event], "sentAt": "2026-11-20T10:00:02Z"})
    answer = await anybody.post(
        "/beacon/v1/batch?writeKey=shop-key", content=body, headers={"content-type": "text/plain", "cookie": "a=b"}
    )
    assert answer.json()["accepted"] == 1
    assert (await written.touchpoint(id_)).ids == {"anonymous_id": "a1"}


async def test_kotlin_sends_gzip_as_text_in_chunks_with_the_key_in_the_body(
    anybody: httpx.AsyncClient, written: Written
) -> None:
    id_ = fresh()
    event = {"type": "screen", "name": "Basket", "anonymousId": "a1", "messageId": id_}
    folded = gzip.compress(json.dumps({"batch": [event], "writeKey": "shop-key"}).encode())

    async def chunks() -> AsyncIterator[bytes]:
        yield folded[:10]
        yield folded[10:]

    answer = await anybody.post("/v1/b", content=chunks(), headers={"content-type": "text/plain"})
    assert answer.json()["accepted"] == 1
    assert (await written.touchpoint(id_)).event == "Basket"


async def test_errors_have_what_rudders_client_looks_for(anybody: httpx.AsyncClient) -> None:
    for answer in (await anybody.post("/v1/batch", json={}), await anybody.post("/v1/batch", json={"batch": []})):
        assert {"code", "message", "detail"} <= answer.json().keys()
