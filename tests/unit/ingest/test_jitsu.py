"""Jitsu's API: Segment's calls on other paths, with an answer of its own."""

from __future__ import annotations

import json

import pytest

from services.ingest.accept import TYPES
from services.ingest.dialects import jitsu
from services.ingest.dialects.dialect import Outcome
from services.ingest.sources import key_of
from tests.support.calls import Asked


@pytest.mark.parametrize("type_", sorted(TYPES))
@pytest.mark.parametrize("place", ["", "s2s/"])
def test_the_path_says_the_type(type_: str, place: str) -> None:
    path = f"/api/s/{place}{type_}"
    call = Asked("POST", path, {}, {}, b'{"type": "other", "userId": "u1", "sentAt": "t"}')
    [item] = jitsu.ROUTES[path].parse(call).items
    assert item is not None
    assert (item.type, item.user_id, item.sent_at) == (type_, "u1", "t")


def test_the_masked_key_of_the_body_is_none() -> None:
    parsed = jitsu.ROUTES["/api/s/track"].parse(Asked("POST", "/api/s/track", {}, {}, b'{"writeKey": "id:***"}'))
    assert key_of({b"x-write-key": b"id:secret"}, {}, parsed.write_key) == "id:secret"
    assert key_of({}, {}, parsed.write_key) is None


def test_the_answer_is_ok() -> None:
    answer = jitsu.answer(Outcome(1, []))
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {"ok": True, "success": True, "destinations": [], "accepted": 1, "rejected": []}


def test_the_name_of_a_page_is_among_its_properties() -> None:
    def name(body: bytes) -> object:
        [page] = jitsu.ROUTES["/api/s/page"].parse(Asked("POST", "/api/s/page", {}, {}, body)).items
        assert page is not None
        return page.name

    assert name(b'{"properties": {"name": "Home"}}') == "Home"
    assert name(b'{"name": "Start", "properties": {"name": "Home"}}') == "Start"
    assert name(b'{"properties": [1]}') is None
