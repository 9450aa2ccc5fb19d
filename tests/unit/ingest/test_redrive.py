"""What is kept of a request reads its touchpoints again, one by one, in every dialect; and seals."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.dialect import Call
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.policy import Policy
from services.ingest.redrive import MAX_REQUEST, judge, kept, kept_covered, read_again, resent
from services.ingest.routes import ROUTES
from services.ingest.times import Arrival
from shared.identifiers import IdentityRules
from shared.keys import Source
from shared.seals import Seals, seals_of
from tests.support.calls import Asked
from tests.support.sent import AT

TRACK = {"type": "track", "event": "E", "userId": "u", "messageId": "m", "properties": {"ü": [1, None]}}
EVENT = {"specversion": "1.0", "id": "m", "source": "s", "type": "E", "data": {"userId": "u"}}
POSTHOG = {"event": "E", "distinct_id": "u", "uuid": "m", "properties": {"a": 1}}
SNOWPLOW = {"e": "se", "se_ac": "E", "uid": "u", "eid": "m", "aid": "app", "p": "web"}
SENT: dict[str, Any] = {
    "a batch": ("/v1/batch", {"batch": [TRACK, {**TRACK, "context": {"b": 2}}], "context": {"a": "\ud800"}}),
    "a call": ("/v1/track/", TRACK),
    "jitsu": ("/api/s/track", TRACK),
    "posthog v0": ("/batch", {"api_key": "k", "batch": [POSTHOG, POSTHOG | {"event": 7}]}),
    "posthog v0, a list": ("/e/", [POSTHOG]),
    "posthog v1": ("/i/v1/analytics/events", {"api_key": "k", "batch": [POSTHOG]}),
    "snowplow": ("/com.snowplowanalytics.snowplow/tp2", {"data": [SNOWPLOW, SNOWPLOW | {"se_ac": "F"}]}),
    "a batch of cloudevents": ("/events", [EVENT, EVENT | {"id": "n"}]),
    "a cloudevent": ("/events", EVENT),
}
TYPES = {
    "a batch of cloudevents": b"application/cloudevents-batch+json",
    "a cloudevent": b"application/cloudevents+json",
}


def call(
    body: bytes, *, path: str, method: str = "POST", query: dict[str, str] | None = None,
    headers: dict[bytes, bytes] | None = None,
) -> Asked:  # fmt: skip
    return Asked(method, path, query or {}, headers or {}, body)


def again(request: Call) -> tuple[list[RawTouchpoint | None], list[RawTouchpoint | None]]:
    """The touchpoints of a request, and those that its dead letters would give."""
    parsed = ROUTES[request.path].parse(request)
    letters = [(kept(request, parsed, False), parsed.original(index)) for index in range(len(parsed.items))]
    read = [read_again(resent(told, original), ROUTES).items for told, original in letters]
    assert all(len(items) == 1 for items in read)
    return parsed.items, [item for items in read for item in items]


def plain(item: RawTouchpoint | None) -> Any:
    """What counts; whether it has to be cleaned is for each reading to say."""
    assert item is not None
    return {name: getattr(item, name) for name in item.__struct_fields__ if name != "unclean"}


@pytest.mark.parametrize("name", SENT)
def test_a_dead_letter_reads_as_it_did(name: str) -> None:
    path, body = SENT[name]
    headers = {b"content-type": TYPES.get(name, b"application/json"), b"user-agent": b"Firefox"}
    first, second = again(call(json.dumps(body).encode(), path=path, headers=headers))
    assert list(map(plain, first)) == list(map(plain, second))


@pytest.mark.parametrize(
    ("path", "query"),
    [("/v1/pixel/track", {"event": "E", "userId": "u"}), ("/i", SNOWPLOW), ("/e", {"data": json.dumps(POSTHOG)})],
)
def test_a_dead_letter_of_a_query_reads_as_it_did(path: str, query: dict[str, str]) -> None:
    first, second = again(call(b"", method="GET", path=path, query=query, headers={}))
    assert list(map(plain, first)) == list(map(plain, second))


def test_a_cloudevent_in_headers_reads_as_it_did() -> None:
    headers = {
        b"ce-id": b"m",
        b"ce-source": b"s",
        b"ce-type": b"E",
        b"ce-specversion": b"1.0",
        b"ce-subject": b"u%C3%BC",
    }
    first, second = again(call(b'{"userId":"u"}', path="/events", headers=headers))
    assert list(map(plain, first)) == list(map(plain, second))


def test_no_key_and_no_address_is_kept() -> None:
    secrets = {b"authorization": b"Basic k3y", b"x-write-key": b"k3y", b"cookie": b"k3y", b"x-forwarded-for": b"k3y"}
    request = call(json.dumps(TRACK).encode(), path="/v1/track", query={"writeKey": "k3y"}, headers=secrets)
    assert "k3y" not in kept(request, ROUTES["/v1/track"].parse(request), False)


def test_what_is_kept_of_a_request_is_small() -> None:
    body = {"batch": [TRACK] * 2, "context": {"a": "x" * MAX_REQUEST}}
    request = call(json.dumps(body).encode(), path="/v1/batch")
    small = kept(request, ROUTES["/v1/batch"].parse(request), False)
    assert len(small) < 200
    assert resent(small, b"").path == "/v1/batch"


def test_the_first_key_seals_and_all_open() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = Seals(old).seal("ü".encode())
    assert Seals(f"{new}, {old}").open(token) == "ü".encode()
    with pytest.raises(ValueError, match="does not have"):
        Seals(old).open(Seals(f"{new},{old}").seal(b"x"))
    with pytest.raises(ValueError, match="keys seal"):
        Seals("secret")
    assert seals_of(None) is None


def test_what_was_hidden_is_not_hidden_twice() -> None:
    source = Source.model_validate(
        {"name": "s", "kind": "server", "write_keys": ["k"], "privacy": {"hash": ["ids.user_id"]}}
    )
    policy = Policy(source, key=b"secret")
    intake = Intake(source=source, arrival=Arrival(at=AT), rules=IdentityRules(), new_id=str)
    request = call(json.dumps(POSTHOG).encode(), path="/batch")
    parsed = ROUTES["/batch"].parse(request)
    taken = accept(parsed.items[0], msgspec.structs.replace(intake, policy=policy.on({})))
    letter = policy.on({}).letter(parsed.items[0], parsed.original(0))
    again = resent(kept_covered(request, parsed, False), letter)
    assert again.is_covered
    [redriven] = judge(again, ROUTES, AT, msgspec.structs.replace(intake, policy=policy.after_cover().on({})))
    assert isinstance(taken, Accepted)
    assert isinstance(redriven, Accepted)
    assert redriven.touchpoint == taken.touchpoint
    assert redriven.touchpoint.ids["user_id"] != "u"
