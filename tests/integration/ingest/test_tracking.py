"""Sending touchpoints over HTTP: every path, key, encoding and answer of the interface."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import zstandard

from services.ingest.body import MAX_BODY
from services.ingest.dialects.dialect import MAX_TOUCHPOINTS
from shared.touchpoint import TOUCHPOINTS
from tests.integration.ingest.conftest import Written, basic, fresh, track

ALL_ACCEPTED = {"success": True, "accepted": 1, "rejected": []}
SHORT = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a"}
NEEDS = {"track": {"event": "E"}, "group": {"groupId": "g1"}, "alias": {"previousId": "old"}}
TWICE = gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0)  # the same in every worker: it names a test


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", [*SHORT, *SHORT.values()])
async def test_every_single_call_is_taken(client: httpx.AsyncClient, written: Written, path: str, slash: str) -> None:
    type_ = next(name for name, short in SHORT.items() if path in (name, short))
    id_ = fresh()
    answer = await client.post(f"/v1/{path}{slash}", json={"messageId": id_, "userId": "u1", **NEEDS.get(type_, {})})
    assert (answer.status_code, answer.json()) == (200, ALL_ACCEPTED)
    assert answer.headers["content-type"] == "application/json"
    assert (await written.touchpoint(id_)).type == type_


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/", "/beacon/v1/batch"])
async def test_every_batch_call_is_taken(client: httpx.AsyncClient, written: Written, path: str) -> None:
    items = [track(), track(type="page", name="Home")]
    answer = await client.post(path, json={"batch": items, "context": {"locale": "de"}})
    assert answer.json() == {"success": True, "accepted": 2, "rejected": []}
    found = await written.touchpoints(*(item["messageId"] for item in items))
    assert [(one.event, one.context) for one in found] == [
        ("Product Viewed", {"locale": "de"}),
        ("Home", {"locale": "de"}),
    ]


async def test_each_rejected_touchpoint_is_named_and_its_neighbours_are_taken(
    client: httpx.AsyncClient, written: Written
) -> None:
    good, bad = track(), track(userId="null")
    answer = await client.post("/v1/batch", json={"batch": [bad, good, 7]})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    assert [(one["index"], one["id"], one["reason"]) for one in answer.json()["rejected"]] == [
        (0, bad["messageId"], "identifier_missing"),
        (2, None, "not_an_object"),
    ]
    assert all(one["message"] for one in answer.json()["rejected"])
    assert len(await written.touchpoints(good["messageId"], bad["messageId"])) == 1


async def test_a_rejected_touchpoint_is_kept_in_the_dead_letters_as_it_was_sent(
    client: httpx.AsyncClient, written: Written
) -> None:
    item = track(userId="null", unknown={"kept": True})
    await client.post("/v1/batch", json={"batch": [track(), item]})
    [letter] = await written.letters(item["messageId"])
    assert (letter.index, letter.source, letter.reason) == (1, "shop", "identifier_missing")
    assert json.loads(letter.data) == item


async def test_a_single_call_refused_is_a_success_without_touchpoints(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/track", json={"event": "E"})
    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["accepted"]) == (True, 0)
    assert answer.json()["rejected"][0]["reason"] == "identifier_missing"


async def test_strict_accepts_nothing_if_anything_is_refused(client: httpx.AsyncClient, written: Written) -> None:
    good, bad = track(), track(event=None)
    answer = await client.post("/v1/batch?strict=1", json={"batch": [good, bad]})
    assert (answer.status_code, answer.json()["code"], answer.json()["accepted"]) == (400, "touchpoints_rejected", 0)
    assert answer.json()["rejected"][0]["reason"] == "event_missing"
    assert await written.touchpoints(good["messageId"]) == []
    assert len(await written.letters(bad["messageId"])) == 1


async def test_strict_takes_what_is_right(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/track?strict=1", json=track())).json() == ALL_ACCEPTED
    assert (await client.post("/v1/track?strict=1", json={"userId": "u1"})).status_code == 400


@pytest.mark.parametrize(
    ("headers", "query", "in_body"),
    [
        (basic("shop-key"), "", {}),
        ({"authorization": "Bearer shop-key"}, "", {}),
        ({"x-write-key": "shop-key"}, "", {"writeKey": "shop-***"}),
        ({}, "?writeKey=shop-key", {}),
        ({}, "", {"writeKey": "shop-key"}),
    ],
)
async def test_a_key_is_taken_from_every_place(
    anybody: httpx.AsyncClient, headers: dict[str, str], query: str, in_body: dict[str, str]
) -> None:
    answer = await anybody.post(f"/v1/track{query}", json={**track(), **in_body}, headers=headers)
    assert answer.json() == ALL_ACCEPTED
    batch = {"batch": [track()], **in_body}
    assert (await anybody.post(f"/v1/batch{query}", json=batch, headers=headers)).json() == ALL_ACCEPTED


@pytest.mark.parametrize("headers", [{}, basic("unknown"), {"authorization": "Bearer x"}, {"x-write-key": "***"}])
async def test_no_or_an_unknown_key_is_refused(anybody: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await anybody.post("/v1/track", json=track(), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] in ("key_missing", "key_unknown")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream", ""],
)
async def test_the_content_type_does_not_matter(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/v1/track", content=json.dumps(track()), headers={"content-type": content_type})
    assert answer.json() == ALL_ACCEPTED


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("coding", "fold"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress)]
)
async def test_compressed_bodies(
    client: httpx.AsyncClient, written: Written, coding: str, fold: Callable[[bytes], bytes], named: bool
) -> None:
    item = track(properties={"text": "é" * 1000})
    headers = {"content-encoding": coding} if named else {"content-type": "text/plain"}
    answer = await client.post("/v1/batch", content=fold(json.dumps({"batch": [item]}).encode()), headers=headers)
    assert answer.json() == ALL_ACCEPTED
    assert (await written.touchpoint(item["messageId"])).properties == {"text": "é" * 1000}


async def test_a_chunked_body_without_length(client: httpx.AsyncClient, written: Written) -> None:
    item = track()
    body = json.dumps({"batch": [item]}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answer = await client.post("/v1/batch", content=chunks())
    assert answer.json() == ALL_ACCEPTED
    assert (await written.touchpoint(item["messageId"])).id == item["messageId"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "code"),
    [
        ("/v1/track", b"not json", {}, "body_not_json"),
        ("/v1/track", b"", {}, "body_not_json"),
        ("/v1/track", b"[1]", {}, "body_not_an_object"),
        ("/v1/batch", b"{}", {}, "batch_missing"),
        ("/v1/batch", b'{"batch": 7}', {}, "batch_missing"),
        ("/v1/batch", b"[" * 200_000, {}, "body_not_json"),
        ("/v1/batch", b"{}", {"content-encoding": "gzip"}, "compression_broken"),
        ("/v1/batch", TWICE, {"content-encoding": "gzip"}, "compression_broken"),
        ("/v1/batch", TWICE, {"content-encoding": "gzip, gzip"}, "compression_broken"),
        ("/v1/batch", b"{}", {"content-encoding": "br"}, "encoding_unknown"),
        ("/v1/batch", b" " * (MAX_BODY + 1), {}, "body_too_large"),
        ("/v1/batch", gzip.compress(b" " * (MAX_BODY + 1)), {"content-encoding": "gzip"}, "body_too_large"),
        ("/v1/batch", b'{"batch":[' + b"{}," * MAX_TOUCHPOINTS + b"{}]}", {}, "too_many_touchpoints"),
    ],
)
async def test_every_unusable_body_is_refused(
    client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str], code: str
) -> None:
    answer = await client.post(path, content=body, headers=headers)
    problem = answer.json()
    expected = {"encoding_unknown": 415, "body_too_large": 413, "too_many_touchpoints": 413}.get(code, 400)
    assert (answer.status_code, problem["code"], problem["status"]) == (expected, code, expected)
    assert problem["message"]
    assert problem["detail"]


async def test_a_chunked_flood_is_refused_when_it_passes_the_limit(client: httpx.AsyncClient) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 65536 + 2):
            yield b" " * 65536

    answer = await client.post("/v1/batch", content=flood())
    assert answer.status_code == 413


async def test_as_many_touchpoints_as_may_be_are_taken(client: httpx.AsyncClient) -> None:
    items = [track(userId=f"u{number}") for number in range(MAX_TOUCHPOINTS)]
    assert (await client.post("/v1/batch", json={"batch": items})).json()["accepted"] == MAX_TOUCHPOINTS


async def test_a_source_over_its_rate_is_told_when_to_come_back(anybody: httpx.AsyncClient) -> None:
    headers = basic("slow-key")
    first = await anybody.post("/v1/batch", json={"batch": [track()] * 5}, headers=headers)
    second = await anybody.post("/v1/track", json=track(), headers=headers)
    assert (first.status_code, second.status_code, second.json()["code"]) == (200, 429, "rate_exceeded")
    assert 0 < int(second.headers["retry-after"]) <= 720


async def test_other_methods_and_paths_are_refused_as_problems(client: httpx.AsyncClient) -> None:
    for answer, code in (
        (await client.get("/v1/track"), "method_not_allowed"),
        (await client.get("/nowhere"), "not_found"),
        (await client.get("/v1/revocations"), "method_not_allowed"),
    ):
        assert (answer.json()["code"], answer.headers["content-type"]) == (code, "application/problem+json")


async def test_the_sources_channel_is_the_default(anybody: httpx.AsyncClient, written: Written) -> None:
    item = track()
    await anybody.post("/v1/track", json=item, headers=basic("till-key"))
    found = await written.touchpoint(item["messageId"])
    assert (found.source, found.channel) == ("till", "store")


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"x-retry-count": "1"}, ""), ({"rsa-retry-attempt": "2"}, ""), ({}, "?retry_count=1")],
)
async def test_what_says_it_is_a_retry_is_not_corrected(
    client: httpx.AsyncClient, written: Written, headers: dict[str, str], query: str
) -> None:
    first, again = track(timestamp="2021-01-01T00:00:00Z"), track(timestamp="2021-01-01T00:00:00Z")
    envelope: dict[str, Any] = {"sentAt": "2021-01-01T00:00:05Z"}
    await client.post("/v1/batch", json={"batch": [first], **envelope}, headers={"x-retry-count": "0"})
    await client.post(f"/v1/batch{query}", json={"batch": [again], **envelope}, headers=headers)
    corrected, kept = await written.touchpoints(first["messageId"], again["messageId"])
    assert (corrected.flags, corrected.time.year > 2025) == (("time_corrected",), True)
    assert (kept.flags, kept.time.year) == ((), 2021)


async def test_records_are_keyed_by_the_highest_identifier_and_traced(
    client: httpx.AsyncClient, written: Written
) -> None:
    item = track(anonymousId="a1")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.post("/v1/track", json=item, headers={"traceparent": parent})
    [record] = [one for one in await written.records(TOUCHPOINTS) if item["messageId"].encode() in one.value]
    headers = dict(record.headers)
    assert (record.key, headers["traceparent"]) == (b"user_id:u1", parent.encode())
    assert (headers["ce_id"], headers["ce_type"]) == (item["messageId"].encode(), b"track")


@pytest.mark.parametrize("headers", [{}, {"traceparent": "rubbish"}])
async def test_a_trace_begins_here_when_none_comes(
    client: httpx.AsyncClient, written: Written, headers: dict[str, str]
) -> None:
    item = track()
    await client.post("/v1/track", json=item, headers=headers)
    [record] = [one for one in await written.records(TOUCHPOINTS) if item["messageId"].encode() in one.value]
    version, trace, span, _ = dict(record.headers)["traceparent"].decode().split("-")
    assert (version, len(trace), len(span)) == ("00", 32, 16)


async def test_many_clients_at_once_lose_nothing(client: httpx.AsyncClient, written: Written) -> None:
    items = [track(userId=f"u{number}") for number in range(300)]
    answers = await asyncio.gather(*(client.post("/v1/track", json=item) for item in items))
    assert all(answer.json() == ALL_ACCEPTED for answer in answers)
    found = await written.touchpoints(*(item["messageId"] for item in items))
    assert [one.id for one in found] == [item["messageId"] for item in items]


async def test_a_slow_client_is_not_waited_for_by_others(client: httpx.AsyncClient) -> None:
    ready, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"batch":['
        ready.set()
        await go.wait()
        yield b"]}"

    slow = asyncio.create_task(client.post("/v1/batch", content=slowly()))
    await ready.wait()
    assert (await client.post("/v1/track", json=track())).json() == ALL_ACCEPTED
    go.set()
    assert (await slow).json()["accepted"] == 0


async def test_a_client_that_hangs_up_leaves_nothing_behind(client: httpx.AsyncClient, written: Written) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield b'{"batch":['
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await client.post("/v1/batch", content=cut())
    assert (await client.post("/v1/track", json=track())).json() == ALL_ACCEPTED


async def test_metrics_count_what_was_taken_and_what_was_not(client: httpx.AsyncClient) -> None:
    before = await counted(client)
    await client.post("/v1/batch", json={"batch": [track(), track(), track(userId="0", anonymousId="a1"), {}, 7]})
    after = await counted(client)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown["throughline_touchpoints_accepted_total", "shop", ""] == 3
    assert grown["throughline_touchpoints_rejected_total", "shop", "type_unknown"] == 1
    assert grown["throughline_touchpoints_rejected_total", "shop", "not_an_object"] == 1
    assert grown["throughline_identifiers_dropped_total", "shop", "placeholder"] == 1


async def counted(client: httpx.AsyncClient) -> dict[tuple[str, str, str], float]:
    from prometheus_client.parser import text_string_to_metric_families

    text = (await client.get("/metrics")).text
    return {
        (sample.name, sample.labels.get("source", ""), sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_total")
    }
