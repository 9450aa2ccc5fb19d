"""Whatever a client sends: a dialect refuses it or reads it, each touchpoint is decided, and neighbours are safe."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

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

Wrap = Callable[[list[Any]], Any]
TOUCHPOINT = {
    "type": "track", "event": "Order Completed", "messageId": "m1", "userId": "u1", "anonymousId": "a1",
    "timestamp": "2026-11-23T09:59:00.123Z", "properties": {"revenue": 9.5, "items": [{"sku": "a"}]},
    "context": {"page": {"url": "https://shop.example/?utm_source=x", "referrer": "https://www.google.com/"},
                "externalIds": [{"id": "e", "type": "card"}], "ids": {"email": "jo@example.com"},
                "traits": {"email": "jo@example.com"}, "campaign": {"source": "google", "medium": "cpc"}},
    "integrations": {}, "sentAt": "2026-11-23T09:59:01.123Z",
}  # fmt: skip
EVENT = {
    "event": "$pageview", "uuid": "01939c1e-0000-7000-8000-000000000001", "timestamp": "2026-11-23T09:59:00.123Z",
    "offset": 120, "$set": {"email": "jo@example.com"}, "$set_once": {"plan": "free"}, "options": {},
    "properties": {
        "distinct_id": "d1", "$device_id": "d1", "$is_identified": False, "$anon_distinct_id": "a1", "token": "k",
        "$current_url": "https://shop.example/?utm_source=x", "$referrer": "$direct", "utm_source": "x", "alias": "b",
        "$lib": "web", "$group_type": "company", "$group_key": "acme", "$group_set": {"n": 1}, "title": "T",
    },
}  # fmt: skip
EVENTS = st.sampled_from(["$pageview", "$screen", "$identify", "$set", "$create_alias", "$groupidentify", "other"])


def batch(items: list[Any]) -> dict[str, Any]:
    return {"batch": items, "sentAt": "2026-11-23T09:59:02Z", "context": {"ip": "1"}, "writeKey": "k"}


def envelope(items: list[Any]) -> dict[str, Any]:
    return {"api_key": "k", "batch": items, "sent_at": "2026-11-23T09:59:02Z"}


MANY: dict[str, tuple[Wrap, dict[str, Any]]] = {
    "/v1/batch": (batch, TOUCHPOINT),
    "/batch": (envelope, EVENT),
    "/e": (lambda items: items, EVENT),
    "/i/v1/analytics/events": (envelope, EVENT),
}
ONE = {
    "/v1/track": TOUCHPOINT, "/v1/identify": TOUCHPOINT, "/v1/alias": TOUCHPOINT, "/api/s/group": TOUCHPOINT,
    "/capture": EVENT, "/engage": {"$token": "k", "$distinct_id": "d1", "$set": {"a": 1}},
}  # fmt: skip
often = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def spoken(path: str, body: bytes, query: dict[str, str] | None = None, method: str = "POST") -> Parsed | None:
    try:
        return ROUTES[path].parse(Asked(method, path, query or {}, {}, body))
    except Refusal:
        return None


def answered(path: str, parsed: Parsed) -> list[Accepted | Rejection]:
    """What is decided, written to the log and answered."""
    decisions = decide_parsed(parsed)
    rejected = [(index, one) for index, one in enumerate(decisions) if isinstance(one, Rejection)]
    for index, wrong in rejected:
        assert wrong.reason in REASONS
        original = parsed.original(index)
        rejected_record(wrong, index, source="s", received_at=AT, original=original, traceparent=b"t")
    answer = ROUTES[path].answer(Outcome(len(decisions) - len(rejected), rejected, parsed.ids))
    assert answer.status == 200
    msgspec.json.decode(answer.body)
    return decisions


@pytest.mark.parametrize("path", MANY)
@given(data=st.data())
@often
def test_a_bad_touchpoint_of_a_batch_never_spoils_its_neighbours(path: str, data: st.DataObject) -> None:
    wrap, good = MANY[path]
    bad = data.draw(spoiled(good | {"event": data.draw(EVENTS)}))
    parsed = spoken(path, json.dumps(wrap([good, bad, good])).encode())
    assert parsed is not None
    before, _, after = answered(path, parsed)
    assert isinstance(before, Accepted)
    assert isinstance(after, Accepted)
    alone = spoken(path, json.dumps(wrap([good])).encode())
    assert alone is not None
    assert [before] == [after] == answered(path, alone)


@pytest.mark.parametrize("path", MANY)
@given(data=st.data())
@often
def test_a_spoiled_or_damaged_batch_is_refused_or_decided(path: str, data: st.DataObject) -> None:
    wrap, good = MANY[path]
    body = json.dumps(data.draw(spoiled(wrap([good, good])))).encode()
    for sent in (body, data.draw(damaged(body))):
        parsed = spoken(path, sent)
        if parsed is not None:
            answered(path, parsed)


@pytest.mark.parametrize("path", ONE)
@given(data=st.data())
@often
def test_a_spoiled_or_damaged_call_is_refused_or_decided(path: str, data: st.DataObject) -> None:
    body = json.dumps(data.draw(spoiled(ONE[path]))).encode()
    for sent in (body, data.draw(damaged(body))):
        parsed = spoken(path, sent)
        if parsed is not None:
            answered(path, parsed)


@given(
    st.dictionaries(
        st.sampled_from(["data", "event", "userId", "context", "context.page.url", "properties.a.b", "timestamp", "."]),
        st.text(max_size=12) | st.sampled_from(["e30", "eyJldmVudCI6MX0", "{", "data=e30"]),
    )
)
@often
def test_a_pixel_is_refused_or_decided(query: dict[str, str]) -> None:
    parsed = spoken("/v1/pixel/track", b"", query, "GET")
    if parsed is not None:
        decide_parsed(parsed)
