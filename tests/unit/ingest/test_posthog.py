"""PostHog's API: how a request is wrapped, what an event becomes, whose it is, and what comes back."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest

from services.ingest.accept import Accepted
from services.ingest.dialects import posthog
from services.ingest.dialects.dialect import Outcome
from services.ingest.dialects.raw import Parsed, RawTouchpoint
from services.ingest.errors import Refusal
from services.ingest.reasons import rejection
from shared.touchpoint import Touchpoint
from tests.support.calls import Asked
from tests.support.sent import decide_parsed

EVENT = {"event": "Signed Up", "distinct_id": "u1", "uuid": "01939c1e-0000-7000-8000-000000000001"}
V0 = posthog.ROUTES["/e"]
V1 = posthog.ROUTES["/i/v1/analytics/events"]


def parsed(body: Any, **query: str) -> Parsed:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return V0.parse(Asked("POST", "/e", query, {}, content))


def raw(event: dict[str, Any]) -> RawTouchpoint:
    [item] = parsed(event).items
    assert item is not None
    return item


def becomes(event: dict[str, Any]) -> Touchpoint:
    [decision] = decide_parsed(parsed(event))
    assert isinstance(decision, Accepted), decision
    return decision.touchpoint


def ids(**properties: Any) -> dict[str, str]:
    """The identifiers of a browser's event."""
    return becomes({"event": "e", "properties": {"distinct_id": "d1", **properties}}).ids


JSON = json.dumps(EVENT).encode()
BASE64 = b64encode(JSON)


@pytest.mark.parametrize(
    "body",
    [
        JSON,
        b"  " + JSON,
        BASE64,
        BASE64.rstrip(b"=") + b"\n",
        urlsafe_b64encode(JSON),
        b"data=" + quote(BASE64).encode(),
        b"data=" + BASE64.replace(b"+", b" "),
        b"data=" + quote(JSON).encode() + b"&compression=base64",
        b"verbose=1&data=" + quote(BASE64).encode(),
        b64encode(gzip.compress(JSON)),
    ],
)
def test_an_event_is_found_in_every_wrapping(body: bytes) -> None:
    [item] = parsed(body).items
    assert item is not None
    assert (item.event, item.user_id) == ("Signed Up", "u1")


def test_an_event_is_found_in_the_query_of_a_get() -> None:
    for data in (BASE64.decode(), JSON.decode()):
        [item] = V0.parse(Asked("GET", "/e", {"data": data, "_": "1795428000000"}, {}, b"")).items
        assert item is not None
        assert item.event == "Signed Up"


@pytest.mark.parametrize("body", [EVENT, [EVENT], {"batch": [EVENT], "api_key": "k"}, {"api_key": "k", **EVENT}])
def test_one_event_a_list_and_an_envelope_are_read(body: Any) -> None:
    assert [item and item.event for item in parsed(body).items] == ["Signed Up"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"###", "body_not_json"),
        (b"", "body_not_json"),
        (b64encode(b"###"), "body_not_json"),
        (b"data=", "body_not_json"),
        (b"&".join(b"a=b" for _ in range(100)) + b"&data=x", "body_not_json"),
        (b64encode(b"17"), "body_not_an_object"),
        (b'{"batch": 1}', "batch_missing"),
        (b'{"event": "e"', "body_not_json"),
        (b64encode(gzip.compress(JSON)[:-9]), "compression_broken"),
        (b64encode(gzip.compress(b"0" * 6_000_000)), "body_too_large"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        parsed(body)
    assert refused.value.code == code


def test_lz64_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as refused:
        parsed(EVENT, compression="lz64")
    assert refused.value.code == "encoding_unknown"


@pytest.mark.parametrize(
    "body",
    [
        {"api_key": "k", "batch": [EVENT]},
        {"token": "k", "batch": [EVENT]},
        {"$token": "k", **EVENT},
        {"event": "e", "properties": {"token": "k", "distinct_id": "d"}},
        [{**EVENT, "api_key": "k"}],
        {"batch": [{"event": "e", "properties": {"token": "k"}}]},
    ],
)
def test_the_key_is_found_where_posthogs_clients_put_it(body: Any) -> None:
    assert parsed(body).write_key == "k"


def test_neither_key_nor_person_is_kept_in_properties_where_nobody_looks_for_them() -> None:
    person = {"distinct_id": "d", "$device_id": "v", "$user_id": "d", "$anon_distinct_id": "a", "$ip": "192.0.2.7"}
    kept = becomes({"event": "e", "properties": {"token": "secret", "a": 1, **person}})
    assert kept.properties == {"a": 1}
    assert (kept.context["ip"], kept.context["device"]) == ("192.0.2.7", {"id": "v"})


def test_sent_at_is_the_envelopes_or_the_querys() -> None:
    assert parsed({"batch": [], "sent_at": "2026-11-23T10:00:00Z"}).sent_at == "2026-11-23T10:00:00Z"
    assert parsed([], _="1795428000000").sent_at == "2026-11-23T10:00:00+00:00"
    assert parsed([], sent_at="1795428000000").sent_at == "2026-11-23T10:00:00+00:00"
    assert [parsed([], _=odd).sent_at for odd in ("0", "9" * 40, "")] == [None, "9" * 40, ""]


def test_an_event_of_a_list_has_its_own_sent_at() -> None:
    [item] = parsed([{**EVENT, "sent_at": "t"}]).items
    assert item is not None
    assert item.sent_at == "t"


def test_an_offset_counts_back_from_sent_at() -> None:
    [item] = parsed([{"event": "e", "offset": 1500}], _="1795428000000").items
    assert item is not None
    assert item.timestamp == "2026-11-23T09:59:58.500000+00:00"


@pytest.mark.parametrize("offset", ["7", None, True, 1e300, [1]])
def test_an_offset_that_is_none_leaves_the_time_to_us(offset: Any) -> None:
    [item] = parsed([{"event": "e", "offset": offset}], _="1795428000000").items
    assert item is not None
    assert item.timestamp is None


@pytest.mark.parametrize(
    ("event", "type_"),
    [("$pageview", "page"), ("$screen", "screen"), ("$identify", "identify"), ("$set", "identify"),
     ("$create_alias", "alias"), ("$groupidentify", "group"), ("$autocapture", "track"), ("Signed Up", "track")],
)  # fmt: skip
def test_events_have_types(event: str, type_: str) -> None:
    assert raw({"event": event, "distinct_id": "d"}).type == type_


def test_a_pageview_is_a_page_with_url_campaign_and_referrer() -> None:
    page = becomes({
        "event": "$pageview",
        "timestamp": "2026-11-23T09:59:58.123Z",
        "uuid": "m1",
        "properties": {
            "distinct_id": "d1", "$device_id": "d1", "$current_url": "https://shop.example/a?utm_source=google",
            "$pathname": "/a", "$referrer": "$direct", "title": "A", "utm_source": "google", "utm_medium": "cpc",
            "utm_campaign": "c", "$lib": "web", "$lib_version": "1.449.2", "$raw_user_agent": "Mozilla/5.0",
        },
    })  # fmt: skip
    assert (page.id, page.type, page.event, page.channel, page.acquisition) == (
        "m1",
        "page",
        None,
        "ads",
        "Paid Search",
    )
    assert page.context["page"] == {
        "url": "https://shop.example/a?utm_source=google", "path": "/a", "referrer": "", "title": "A"
    }  # fmt: skip
    assert page.context["campaign"] == {"source": "google", "medium": "cpc", "name": "c"}
    assert page.context["library"] == {"name": "web", "version": "1.449.2"}
    assert page.context["userAgent"] == "Mozilla/5.0"
    assert page.properties["$pathname"] == "/a"


def test_a_screen_has_its_name() -> None:
    screen = becomes({"event": "$screen", "distinct_id": "u1", "properties": {"$screen_name": "Basket"}})
    assert (screen.event, screen.channel) == ("Basket", "app")


def test_an_identify_links_who_he_was_until_then() -> None:
    touchpoint = becomes({
        "event": "$identify", "$set": {"email": "Jo@Example.com"}, "$set_once": {"plan": "free", "email": "other"},
        "properties": {"distinct_id": "u1", "$anon_distinct_id": "a1", "$is_identified": False},
    })  # fmt: skip
    assert touchpoint.ids == {"user_id": "u1", "anonymous_id": "a1", "email": "jo@example.com"}
    assert touchpoint.traits == {"plan": "free", "email": "Jo@Example.com"}


USER, ANONYMOUS = {"user_id": "d1"}, {"anonymous_id": "d1"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, USER),
        ({"$device_id": "d1"}, ANONYMOUS),
        ({"$device_id": "d2"}, USER),
        ({"$is_identified": False}, ANONYMOUS),
        ({"$is_identified": False, "$device_id": "d2"}, ANONYMOUS),
        ({"$is_identified": True, "$device_id": "d1"}, USER),
        ({"$is_identified": "no"}, USER),
        ({"$process_person_profile": False}, ANONYMOUS),
        ({"$process_person_profile": False, "$user_id": "d1"}, USER),
        ({"$process_person_profile": True}, USER),
        ({"$device_id": None}, USER),
    ],
)
def test_an_id_is_a_users_unless_something_says_that_it_is_not(
    properties: dict[str, Any], expected: dict[str, str]
) -> None:
    assert ids(**properties) == expected


def test_who_has_no_cookie_is_nobody() -> None:
    assert decide_parsed(parsed({"event": "e", "distinct_id": "$posthog_cookieless"})) == [
        rejection("identifier_missing")
    ]


def test_an_alias_of_an_anonymous_id_belongs_to_the_user() -> None:
    alias = becomes(
        {"event": "$create_alias", "properties": {"distinct_id": "a1", "alias": "u1", "$is_identified": False}}
    )
    assert (alias.ids, alias.previous_id) == ({"user_id": "u1", "anonymous_id": "a1"}, "a1")


def test_an_alias_of_a_server_joins_both_and_links_whichever_was_anonymous() -> None:
    alias = becomes({"event": "$create_alias", "distinct_id": "d1", "properties": {"distinct_id": "d1", "alias": "d2"}})
    assert (alias.ids, alias.previous_id) == ({"user_id": "d1", "anonymous_id": "d1"}, "d2")


def test_a_group_has_its_key_and_its_traits() -> None:
    properties = {"$group_type": "company", "$group_key": "acme", "$group_set": {"name": "Acme"}}
    group = becomes({"event": "$groupidentify", "distinct_id": "u1", "properties": properties})
    assert (group.group_id, group.traits, group.ids) == ("acme", {"name": "Acme"}, {"user_id": "u1"})
    made_up = becomes({"event": "$groupidentify", "distinct_id": "$company_acme", "properties": properties})
    assert made_up.ids == {"anonymous_id": "$company_acme"}


def test_traits_may_come_without_an_event() -> None:
    touchpoint = becomes({"$token": "k", "$distinct_id": "u1", "$set": {"plan": "pro"}})
    assert (touchpoint.type, touchpoint.ids, touchpoint.traits) == ("identify", {"user_id": "u1"}, {"plan": "pro"})


def test_bad_events_of_a_batch_keep_their_places_and_spoil_nobody() -> None:
    rows = [EVENT, 7, {"distinct_id": "u1"}, {"event": "e"}, {"event": "e", "distinct_id": ["x"]},
            {"event": "e", "distinct_id": "u1", "properties": "x"}, {"event": "e", "distinct_id": "u1", "$set": 1},
            {**EVENT, "uuid": "m2"}]  # fmt: skip
    decisions = decide_parsed(parsed({"batch": rows}))
    assert [isinstance(one, Accepted) or one.reason for one in decisions] == [
        True, "not_an_object", "event_missing", "identifier_missing", "identifier_invalid", "not_an_object",
        "not_an_object", True,
    ]  # fmt: skip


def test_what_is_unclean_is_cleaned_and_spoils_nobody() -> None:
    body = b'[{"event":"a\\u0000b","distinct_id":"u1","properties":{"x":NaN,"$current_url":"\\ud800"}},' + JSON + b"]"
    [odd, good] = decide_parsed(parsed(body))
    assert isinstance(odd, Accepted)
    assert isinstance(good, Accepted)
    assert (odd.touchpoint.event, odd.touchpoint.properties) == ("ab", {"x": None, "$current_url": "\ufffd"})
    assert odd.touchpoint.context["page"]["url"] == "\ufffd"


def test_originals_are_the_bytes_that_were_sent() -> None:
    for body in (b'[{"a": 1} , 3]', b'{"batch": [{"a": 1}, 3]}'):
        assert [parsed(body).original(0), parsed(body).original(1)] == [b'{"a": 1}', b"3"]
    assert parsed(b64encode(b'{"a": 1}')).original(0) == b'{"a": 1}'


def test_v0_is_answered_with_its_status() -> None:
    answer = V0.answer(Outcome(1, [(0, rejection("event_missing"))]))
    assert answer.status == 200
    assert json.loads(answer.body) | {"rejected": []} == {"status": "Ok", "accepted": 1, "rejected": []}


def v1(rows: list[Any]) -> Parsed:
    headers = {b"posthog-sdk-info": b"posthog-python/7.91.1", b"posthog-request-timestamp": b"2026-11-23T10:00:00Z"}
    return V1.parse(Asked("POST", "/i/v1/analytics/events", {}, headers, json.dumps({"batch": rows}).encode()))


def test_v1_has_its_envelope_in_its_headers() -> None:
    envelope = v1([{**EVENT, "session_id": "s1", "options": {"process_person_profile": False}}])
    [item] = envelope.items
    assert item is not None
    assert (envelope.sent_at, item.anonymous_id) == ("2026-11-23T10:00:00Z", "u1")
    assert item.context == {"sessionId": "s1", "library": {"name": "posthog-python", "version": "7.91.1"}}


def test_v1_names_each_event_by_its_uuid() -> None:
    envelope = v1([{**EVENT, "uuid": "m1"}, {"event": "e", "uuid": "m2"}, {"event": "e"}])
    missing = rejection("identifier_missing")
    answer = V1.answer(Outcome(1, [(1, missing), (2, missing)], envelope.ids))
    assert json.loads(answer.body)["results"] == {
        "m1": {"result": "ok"}, "m2": {"result": "drop", "details": f"identifier_missing: {missing.message}"}
    }  # fmt: skip


def test_v1_needs_a_batch() -> None:
    with pytest.raises(Refusal) as refused:
        V1.parse(Asked("POST", "/i/v1/analytics/events", {}, {}, b"[]"))
    assert refused.value.code == "batch_missing"


@pytest.mark.parametrize("dialect", [V0, V1])
def test_over_a_rate_is_a_reason_to_wait_and_not_to_forget(dialect: Any) -> None:
    refused = dialect.refuse(Refusal("rate_exceeded", retry_after=3.2))
    assert (refused.status, refused.headers) == (503, ((b"retry-after", b"4"),))
    assert json.loads(refused.body)["status"] == 503
    assert dialect.refuse(Refusal("key_unknown")).status == 401
