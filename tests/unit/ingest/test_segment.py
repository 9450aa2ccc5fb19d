"""Segment's API: what single calls and batches say, on the fast path and on the careful one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.dialects.segment import CALLS, from_rows, parse_batch, parse_call
from services.ingest.errors import Refusal
from tests.support.sent import sent

UNCLEAN = {"note": "\0"}  # takes the careful path


@pytest.fixture(params=["fast", "careful"])
def more(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Members of a body that send it on the one path or the other."""
    return UNCLEAN if request.param == "careful" else {}


def batch(*items: Any, **envelope: Any) -> bytes:
    return json.dumps({"batch": items, **envelope}).encode()


def first(body: bytes) -> RawTouchpoint:
    item = parse_batch(body).items[0]
    assert item is not None
    return item


@pytest.mark.parametrize(("name", "type_"), CALLS.items())
def test_the_path_says_the_type(name: str, type_: str, more: dict[str, Any]) -> None:
    body = json.dumps({"userId": "u1", "type": "other", **more}).encode()
    [call] = parse_call(CALLS[name], body).items
    assert call is not None
    assert (call.type, call.user_id) == (type_, "u1")


def test_the_envelopes_context_is_merged_and_the_items_wins(more: dict[str, Any]) -> None:
    item = sent(context={"locale": "de", "page": {"path": "/"}})
    context = first(batch(item, context={"locale": "en", "page": {"url": "x"}, "app": {"name": "a"}}, **more)).context
    assert context == {"locale": "de", "page": {"path": "/"}, "app": {"name": "a"}}


def test_the_envelopes_context_reaches_items_without_one(more: dict[str, Any]) -> None:
    assert first(batch(sent(), context={"ip": "1"}, **more)).context == {"ip": "1"}
    assert first(batch(sent(context=None), context={"ip": "1"}, **more)).context == {"ip": "1"}


def test_the_envelope_says_key_and_sent_at(more: dict[str, Any]) -> None:
    parsed = parse_batch(batch(sent(), writeKey="k", sentAt="2026-11-23T10:00:00Z", **more))
    assert (parsed.write_key, parsed.sent_at) == ("k", "2026-11-23T10:00:00Z")


def test_a_single_calls_sent_at_is_its_own(more: dict[str, Any]) -> None:
    parsed = parse_call("track", json.dumps({**sent(sentAt="t"), "writeKey": "k", **more}).encode())
    assert parsed.items[0] is not None
    assert (parsed.items[0].sent_at, parsed.sent_at, parsed.write_key) == ("t", None, "k")


def test_elements_that_are_no_objects_keep_their_place() -> None:
    assert [item is None for item in parse_batch(batch(1, sent(), None, [])).items] == [True, False, True, True]


def test_an_empty_batch_is_a_batch() -> None:
    assert parse_batch(b'{"batch":[]}').items == []


def test_an_item_cannot_speak_for_us() -> None:
    [raw] = from_rows([{"<unclean>": False, "<too deep>": True, "userId": "u1"}])
    assert raw is not None
    assert (raw.unclean, raw.too_deep) == (True, False)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1"])
def test_a_call_must_be_an_object(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_call("track", body)
    assert refused.value.code == "body_not_an_object"


def test_a_call_nested_too_deeply_is_rejected_not_refused() -> None:
    body = b'{"userId":"u1","event":"e","properties":{"x":' + b"[" * 300 + b"]" * 300 + b"}}"
    [raw] = parse_call("track", body).items
    assert raw is not None
    assert raw.too_deep


def test_rows_of_a_file_are_decided_as_if_they_were_sent() -> None:
    rows = [sent(), 7, sent(properties={"x": "a\0"})]
    fields = ("user_id", "event", "properties")
    by_row = [raw and [getattr(raw, name) for name in fields] for raw in from_rows(rows)]
    by_body = [raw and [getattr(raw, name) for name in fields] for raw in parse_batch(batch(*rows)).items]
    assert by_row == by_body


def test_originals_are_the_bytes_that_were_sent() -> None:
    parsed = parse_batch(b'{"batch":[ {"a": NaN} , 3 ]}')
    assert [parsed.original(0), parsed.original(1)] == [b'{"a": NaN}', b"3"]
    assert parse_call("track", b'{"a": 1}').original(0) == b'{"a": 1}'
