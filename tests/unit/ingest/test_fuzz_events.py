"""Snowplow's events and CloudEvents, spoiled and damaged: refused or decided, and good neighbours are safe."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.accept import Accepted
from services.ingest.dialects.dialect import Outcome
from services.ingest.dialects.raw import Parsed
from services.ingest.encode import rejected_record
from services.ingest.errors import Refusal
from services.ingest.reasons import REASONS, Rejection
from services.ingest.routes import ROUTES
from tests.support.calls import Asked
from tests.support.mutated import damaged, spoiled
from tests.support.sent import AT, decide_parsed

TP2 = "/com.snowplowanalytics.snowplow/tp2"
PAYLOAD: dict[str, Any] = {
    "e": "ue", "eid": "e1", "dtm": "1795428000123", "stm": "1795428000000", "tv": "js-4.10.1", "aid": "a", "p": "web",
    "uid": "u1", "duid": "d1", "tnuid": "t1", "url": "https://shop.example/?utm_source=x", "refr": "https://google.com/",
    "page": "T", "res": "1x2", "vp": "3x4", "se_ac": "add", "se_va": "2.5", "pp_mix": "1", "tr_tt": "9.5",
}  # fmt: skip
DESCRIBED = {
    "schema": "s",
    "data": {"schema": "iglu:acme/screen_view/jsonschema/1-0-0", "data": {"name": "Basket"}},
}
ENTITIES = {"schema": "s", "data": [{"schema": "iglu:a/client_session/jsonschema/1-0-0", "data": {"userId": "d2"}}]}
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "1", "source": "/till/7", "type": "receipt", "subject": "u1", "userid": "u2",
    "time": "2026-11-23T09:59:00.123Z", "datacontenttype": "application/json",
    "data": {"userId": "u1", "traits": {"a": 1}, "context": {"ids": {"card": "c"}}, "properties": {"b": [1]}, "c": 2},
}  # fmt: skip
KINDS = st.sampled_from(["pv", "pp", "se", "ue", "tr", "ti", "xx"])


class Speech(NamedTuple):
    """How many events are sent: where, as what, and the bytes before and after their list."""

    path: str
    content_type: str
    good: dict[str, Any]
    around: tuple[str, str] = ("", "")

    def body(self, *events: Any) -> bytes:
        return (self.around[0] + json.dumps(events) + self.around[1]).encode()


SPEECHES = [
    Speech(TP2, "application/json", PAYLOAD, ('{"data":', "}")),
    Speech("/events", "application/cloudevents-batch+json", EVENT),
]
often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def spoken(path: str, body: bytes, headers: dict[bytes, bytes], query: dict[str, str] | None = None) -> Parsed | None:
    method = "GET" if query is not None else "POST"
    try:
        return ROUTES[path].parse(Asked(method, path, query or {}, headers, body))
    except Refusal:
        return None


def answered(path: str, parsed: Parsed | None) -> list[Accepted | Rejection]:
    """What is decided, written to the log and answered."""
    if parsed is None:
        return []
    decisions = decide_parsed(parsed)
    rejected = [(index, one) for index, one in enumerate(decisions) if isinstance(one, Rejection)]
    for index, wrong in rejected:
        assert wrong.reason in REASONS
        rejected_record(
            wrong, index, source="s", received_at=AT, original=parsed.original(index), traceparent=b"t"
        )  # fmt: skip
    ROUTES[path].answer(Outcome(len(decisions) - len(rejected), rejected))
    return decisions


def packed(document: Any) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).decode()


@st.composite
def spoiled_event(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """One that is spoiled, in the documents inside of it too."""
    if good is PAYLOAD:
        documents = {"ue_px": packed(draw(spoiled(DESCRIBED))), "co": json.dumps(draw(spoiled(ENTITIES)))}
        good = {**good, **documents, "e": draw(KINDS)}
    return draw(spoiled(good)) if draw(st.booleans()) else good


@pytest.mark.parametrize("speech", SPEECHES)
@given(data=st.data())
@often
def test_a_bad_event_never_spoils_its_neighbours(speech: Speech, data: st.DataObject) -> None:
    bad, headers = data.draw(spoiled_event(speech.good)), {b"content-type": speech.content_type.encode()}
    good = speech.good | ({"e": "pv"} if speech.path == TP2 else {})
    before, _, after = answered(speech.path, spoken(speech.path, speech.body(good, bad, good), headers))
    assert isinstance(before, Accepted)
    assert [before] == [after] == answered(speech.path, spoken(speech.path, speech.body(good), headers))


@pytest.mark.parametrize("speech", SPEECHES)
@given(data=st.data())
@often
def test_a_damaged_body_is_refused_or_decided(speech: Speech, data: st.DataObject) -> None:
    body = speech.body(data.draw(spoiled_event(speech.good)), speech.good)
    headers = {b"content-type": speech.content_type.encode()}
    answered(speech.path, spoken(speech.path, data.draw(damaged(body)), headers))


@given(data=st.data())
@often
def test_a_spoiled_structured_event_is_refused_or_decided(data: st.DataObject) -> None:
    body = json.dumps(data.draw(spoiled(EVENT))).encode()
    answered("/events", spoken("/events", body, {b"content-type": b"application/cloudevents+json"}))


@given(
    attributes=st.dictionaries(st.sampled_from(["id", "source", "type", "specversion", "subject", "time", "userid"]),
                               st.binary(max_size=12) | st.just(b"1.0")),
    content_type=st.sampled_from([b"", b"application/json", b"text/plain", b"image/png", b"application/cloudevents"]),
    body=st.binary(max_size=20) | st.just(json.dumps(EVENT["data"]).encode()),
)  # fmt: skip
@often
def test_a_binary_event_is_refused_or_decided(attributes: dict[str, bytes], content_type: bytes, body: bytes) -> None:
    required = {"id": b"1", "source": b"s", "type": b"t", "specversion": b"1.0"}
    headers = {b"ce-" + name.encode(): value for name, value in (required | attributes).items()}
    answered("/events", spoken("/events", body, headers | {b"content-type": content_type}))


@given(st.dictionaries(st.sampled_from([*PAYLOAD, "ue_px", "cx"]), st.text(max_size=12)), KINDS)
@often
def test_a_pixel_is_refused_or_decided(query: dict[str, str], kind: str) -> None:
    for decision in answered("/i", spoken("/i", b"", {b"sp-anonymous": b"*"}, query | {"e": kind})):
        if isinstance(decision, Accepted):
            msgspec.json.decode(decision.value)
