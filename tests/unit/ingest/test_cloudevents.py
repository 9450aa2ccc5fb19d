"""CloudEvents: three modes, headers as both kinds of senders write them, and who an event is about."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from services.ingest.accept import Accepted
from services.ingest.dialects.cloudevents import ROUTES
from services.ingest.dialects.dialect import Outcome
from services.ingest.dialects.raw import Parsed
from services.ingest.errors import Refusal
from services.ingest.reasons import Rejection
from shared.touchpoint import Touchpoint
from tests.support.calls import Asked
from tests.support.sent import decide_parsed

UUID = "0b7a1f7e-4c1e-4b43-9b58-6c0b0f9a9f10"
STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCH = "application/cloudevents-batch+json"
DIALECT = ROUTES["/events"]


def event(**attributes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": UUID, "source": "/till/7", "type": "com.shop.receipt", "subject": "u1",
            "time": "2026-11-23T09:00:00.5Z", **attributes}  # fmt: skip


def sent(body: bytes, content_type: str | None, headers: Mapping[str, bytes] | None = None, **query: str) -> Parsed:
    named = {name.encode(): value for name, value in (headers or {}).items()}
    if content_type is not None:
        named[b"content-type"] = content_type.encode()
    return DIALECT.parse(Asked("POST", "/events", query, named, body))


def structured(**attributes: Any) -> Parsed:
    return sent(json.dumps(event(**attributes)).encode(), STRUCTURED)


def batch(*events: Any) -> Parsed:
    return sent(json.dumps(events).encode(), BATCH)


def binary(body: bytes = b"", content_type: str | None = None, **attributes: bytes) -> Parsed:
    given = {name: value.encode() for name, value in event().items()} | attributes
    return sent(body, content_type, {f"ce-{name}": value for name, value in given.items()})


def taken(parsed: Parsed) -> Touchpoint:
    [decision] = decide_parsed(parsed)
    assert isinstance(decision, Accepted), decision
    return decision.touchpoint


def code(body: bytes, content_type: str | None, headers: Mapping[str, bytes] | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        sent(body, content_type, headers)
    return refused.value.code


def test_all_modes_say_the_same() -> None:
    data = {"total": 12.5, "shop": "Zoë 🛒"}
    said = json.dumps(data).encode()
    whole = structured(data=data, datacontenttype="application/json")
    found = [taken(parsed) for parsed in (whole, batch(event(data=data, datacontenttype="application/json")),
                                          binary(said, "application/json"))]  # fmt: skip
    assert found[0] == found[1] == found[2]
    one = found[0]
    assert (one.id, one.type, one.event, one.ids) == (UUID, "track", "com.shop.receipt", {"user_id": "u1"})
    assert (one.time.isoformat(), one.properties) == ("2026-11-23T09:00:00.500000+00:00", data)
    assert one.context["cloudevents"] == {
        "id": UUID, "source": "/till/7", "type": "com.shop.receipt", "subject": "u1",
        "time": "2026-11-23T09:00:00.5Z", "datacontenttype": "application/json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"Zo%C3%AB%20%25", "Zoë %"),  # the Python SDK: percent-encoded
        ("Zoë 100%".encode("latin-1"), "Zoë 100%"),  # the npm SDK: Latin-1, and a bare %
        (b"100% and %41", "100% and %41"),
        ("Zoë %41".encode(), "Zoë %41"),
        (b'"Euro \\"%E2%82%AC\\""', 'Euro "€"'),
        (b"%FF", "%FF"),
        (b"%2541", "%41"),
    ],
)
def test_a_header_is_decoded_as_its_sender_meant_it(value: bytes, subject: str) -> None:
    assert taken(binary(subject=value)).ids == {"user_id": subject}


def test_data_that_is_no_object_is_a_property() -> None:
    assert taken(binary(b"hello", "text/plain")).properties == {"data": "hello"}
    assert taken(binary(b"not json")).properties == {"data": "not json"}
    assert taken(binary(b"[1,2]", "application/json")).properties == {"data": [1, 2]}
    assert taken(binary(b"\xff\x00", "image/png")).properties == {"data_base64": "/wA="}
    assert taken(binary()).properties == {}
    assert taken(structured(data=None)).properties == {}
    assert taken(structured(data_base64=b64encode(b'{"a":1}').decode())).properties == {"a": 1}
    assert taken(structured(data_base64="?")).properties == {"data": "?"}


def test_data_says_who_it_is_about_before_the_subject_does() -> None:
    about = {"userId": "u2", "anonymousId": "a2", "traits": {"tier": "gold"}, "context": {"locale": "de"}}
    one = taken(structured(data={**about, "properties": {"total": 1}, "till": 7}))
    assert (one.ids, one.traits, one.properties) == (
        {"user_id": "u2", "anonymous_id": "a2"}, {"tier": "gold"}, {"total": 1, "till": 7},
    )  # fmt: skip
    assert one.context["locale"] == "de"
    card = taken(structured(data={"context": {"ids": {"card": "c1"}}}))
    assert card.ids == {"card": "c1"}


def test_extensions_say_who_it_is_about_too() -> None:
    assert taken(binary(userid=b"u3", anonymousid=b"a3")).ids == {"user_id": "u3", "anonymous_id": "a3"}


def test_members_of_foreign_data_that_only_sound_like_ours_are_properties() -> None:
    data = {"traits": ["x"], "context": "checkout", "properties": 5, "type": "receipt"}
    assert taken(structured(data=data)).properties == data


@pytest.mark.parametrize("data", [{"type": "page", "name": "Home", "userId": "u9", "properties": {"a": 1}}])
def test_a_touchpoint_in_the_data_is_one(data: dict[str, Any]) -> None:
    page = taken(structured(data=data))
    assert (page.type, page.event, page.ids, page.properties) == ("page", "Home", {"user_id": "u9"}, {"a": 1})
    track = taken(structured(data={"type": "track", "userId": "u9", "messageId": "other"}))
    assert (track.event, track.id) == ("com.shop.receipt", UUID)


def test_ids_are_unique_within_their_source_only() -> None:
    first, second = taken(structured(id="1")), taken(structured(id="1", source="/till/8"))
    assert (first.id, second.id) == ("/till/7#1", "/till/8#1")
    long = taken(structured(id="1", source="/" + "s" * 300)).id
    assert len(long) == 34
    assert long != taken(structured(id="1", source="/" + "t" * 300)).id


def test_an_event_without_a_time_happened_when_it_came() -> None:
    found = event()
    del found["time"]
    assert taken(batch(found)).flags == ("time_received",)


def test_a_bad_event_of_a_batch_is_rejected_and_keeps_its_bytes() -> None:
    bad = {"id": "x", "specversion": "1.0"}
    parsed = batch(event(), bad, 7, event(specversion="0.3"), event(id="\0", data={"a": "\ud800"}))
    decisions = decide_parsed(parsed)
    reasons = [one.reason if isinstance(one, Rejection) else None for one in decisions]
    assert reasons == [None, "attribute_missing", "not_an_object", "attribute_missing", "identifier_invalid"]
    wrong = decisions[1]
    assert isinstance(wrong, Rejection)
    assert (wrong.id, wrong.message) == ("x", "a CloudEvent needs source, type")
    assert json.loads(parsed.original(1)) == bad


@pytest.mark.parametrize(
    ("body", "content_type", "told"),
    [
        (b'{"price": 9}', None, {"data": {"price": 9}}),
        ("Grüße".encode(), "text/plain", {"data": "Grüße"}),
        (b"\xff\x00", "image/png", {"data_base64": "/wA="}),
        (b'{"price": NaN}', "application/json", {"data_base64": "eyJwcmljZSI6IE5hTn0="}),
    ],
)
def test_of_a_binary_event_the_headers_are_kept_with_the_body(
    body: bytes, content_type: str | None, told: dict[str, Any]
) -> None:
    kept = binary(body, content_type, subject=b"Zo%C3%AB").original(0)
    typed = {"datacontenttype": content_type} if content_type else {}
    assert json.loads(kept) == event(subject="Zoë") | typed | told
    assert taken(sent(kept, STRUCTURED)) == taken(binary(body, content_type, subject=b"Zo%C3%AB"))


def test_an_empty_batch_is_a_batch() -> None:
    assert batch().items == []


def test_too_deep_data_is_rejected_alone() -> None:
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    decisions = decide_parsed(batch(event(data={"a": deep}), event()))
    assert [one.reason if isinstance(one, Rejection) else None for one in decisions] == ["too_deep", None]


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "expected"),
    [
        (b"{}", "application/json", {}, "content_type_unknown"),
        (b"", None, {}, "content_type_unknown"),
        (b"x", "application/cloudevents+avro", {}, "content_type_unknown"),
        (b"x", "application/cloudevents-batch+protobuf", {}, "content_type_unknown"),
        (b"{}", STRUCTURED, {}, "attribute_missing"),
        (b"{}", "application/json", {"ce-id": b"1"}, "attribute_missing"),
        (b"[]", STRUCTURED, {}, "body_not_an_object"),
        (b"{}", BATCH, {}, "batch_missing"),
        (b"{", STRUCTURED, {}, "body_not_json"),
        (b"{", "application/json", {"ce-id": b"1"}, "body_not_json"),
    ],
)
def test_what_is_no_cloudevent_is_refused(
    body: bytes, content_type: str | None, headers: dict[str, bytes], expected: str
) -> None:
    assert code(body, content_type, headers) == expected


def test_the_sender_is_found_by_token_or_by_source() -> None:
    parsed = sent(json.dumps(event()).encode(), STRUCTURED, access_token="key")
    assert (parsed.write_key, parsed.app_id) == ("key", "/till/7")
    assert batch({}, event(source="a"), event(source="b")).app_id == "a"


def test_what_is_taken_is_answered_202() -> None:
    answer = DIALECT.answer(Outcome(1, []))
    assert (answer.status, json.loads(answer.body)) == (202, {"success": True, "accepted": 1, "rejected": []})
    assert DIALECT.methods == {"POST", "PUT"}
