"""Pixels: a touchpoint in a query, and an image whatever became of it."""

from __future__ import annotations

from base64 import b64encode

import pytest

from services.ingest.dialects import pixel
from services.ingest.dialects.dialect import Outcome
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.errors import Refusal
from services.ingest.reasons import rejection
from tests.support.calls import Asked


def shown(path: str, **query: str) -> RawTouchpoint:
    [item] = pixel.ROUTES[path].parse(Asked("GET", path, {**query}, {}, b"")).items
    assert item is not None
    return item


def test_names_with_dots_are_objects() -> None:
    query = {"userId": "u1", "event": "Opened", "properties.mail.id": "7", "properties.plan": "free", "type": "x"}
    item = shown("/v1/pixel/track", **query)
    assert (item.type, item.event, item.user_id) == ("track", "Opened", "u1")
    assert item.properties == {"mail": {"id": "7"}, "plan": "free"}


def test_data_is_json_in_base64() -> None:
    data = b64encode(b'{"anonymousId": "a1", "name": "Home", "writeKey": "k"}').decode()
    for given in (data, data.rstrip("=")):
        item = shown("/v1/pixel/page", data=given)
        assert (item.type, item.name, item.anonymous_id) == ("page", "Home", "a1")


def test_rudders_pixels_are_read_alike() -> None:
    assert shown("/pixel/v1/track", writeKey="k", anonymousId="a1", event="e").event == "e"


def test_names_that_disagree_do_no_harm() -> None:
    item = shown("/v1/pixel/track", **{"properties": "x", "properties.a": "1", "." * 5000: "y", "a." * 5000: "z"})
    assert item.properties == "x"
    assert not item.too_deep


@pytest.mark.parametrize(("data", "code"), [("###", "body_not_json"), ("W10", "body_not_an_object")])
def test_what_cannot_be_read_is_an_image_too(data: str, code: str) -> None:
    dialect = pixel.ROUTES["/v1/pixel/track"]
    with pytest.raises(Refusal) as refused:
        dialect.parse(Asked("GET", "/v1/pixel/track", {"data": data}, {}, b""))
    answer = dialect.refuse(refused.value)
    assert (answer.status, answer.content_type, answer.body) == (200, "image/gif", pixel.GIF)
    assert answer.headers == ((b"cache-control", b"no-store"), (b"throughline-refused", code.encode()))


def test_what_is_rejected_is_an_image_that_says_why() -> None:
    answer = pixel.answer(Outcome(0, [(0, rejection("event_missing"))]))
    assert (answer.status, answer.content_type, answer.body) == (200, "image/gif", pixel.GIF)
    assert answer.headers == ((b"cache-control", b"no-store"), (b"throughline-rejected", b"event_missing"))
