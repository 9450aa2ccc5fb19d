"""What is plain is decided as all the checks decide it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.accept import MAX_TOUCHPOINT, Accepted, Intake, accept
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.dialects.segment import parse_batch
from services.ingest.plain import Plain, Visitors
from services.ingest.policy import Applied, Policy
from services.ingest.times import Arrival
from shared.identifiers import IdentityRules
from shared.keys import Consent, Privacy, Source
from tests.support.sent import AT, SHOP, sent

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari"
SOURCES = [
    SHOP,
    SHOP.model_copy(update={"channel": "store", "privacy": Privacy(ip="keep"), "bots": "stitch"}),
    SHOP.model_copy(update={"kind": "browser", "privacy": Privacy(ip="drop"), "bots": "drop"}),
    SHOP.model_copy(update={"privacy": Privacy(drop=["properties.card"], hash=["ids.user_id"])}),
    SHOP.model_copy(update={"consent": Consent(require=["analytics"])}),
]
ARRIVALS = [
    Arrival(at=AT),
    Arrival.of(AT, (AT - timedelta(minutes=7)).isoformat(), False),
    Arrival.of(AT, (AT - timedelta(minutes=7)).isoformat(), True),
    Arrival.of(AT, "soon", False),
]
RULES = [IdentityRules(), IdentityRules(kinds=("user_id", "email")), IdentityRules(placeholders=frozenset(("u1",)))]
TIMES = [(AT + timedelta(minutes=n)).isoformat() for n in (-600_000, -20_000_000, -6, 4, 6, 2000)]

odd = (
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", " ", "x\0", "null", "ü", "7" * 300, [], {"a": 1}])
)
pages = st.fixed_dictionaries({
    "url": st.sampled_from(["https://shop.example/a?utm_source=x&utm_medium=cpc", "https://shop.example/", "?", 7]),
    "referrer": st.sampled_from(["", "https://www.google.com/", "https://shop.example/b", None]),
    "search": st.sampled_from(["", "?gclid=1", {}]),
})  # fmt: skip
usual = st.fixed_dictionaries({
    "type": st.sampled_from(["track", "page", "screen"]),
    "event": st.sampled_from(["Product Viewed", "Ünïcode"]),
    "name": st.sampled_from(["Home", None]),
    "message_id": st.sampled_from(["m1", " m2"]),
    "user_id": st.sampled_from(["u1", " u2", "ABC", "a" * 256]),
    "anonymous_id": st.sampled_from(["a1", None]),
    "timestamp": st.sampled_from(["2026-11-23T10:00:00.5Z", "2026-11-23T10:00:00+00:00"]),
    "properties": st.sampled_from([{}, {"card": 1}, None]),
})  # fmt: skip
unusual = {
    "type": st.sampled_from(["identify", "alias", "group", "tarck"]) | odd,
    "event": odd,
    "name": odd,
    "message_id": odd,
    "user_id": odd | st.sampled_from(["0", "-"]),
    "anonymous_id": odd,
    "timestamp": st.sampled_from([*TIMES, "2026-11-23T10:00:00z", "2026-11-23", "0001-01-01T00:00+05:00"]) | odd,
    "original_timestamp": st.sampled_from(TIMES),
    "sent_at": st.sampled_from(TIMES) | odd,
    "properties": st.just({"long": "x" * MAX_TOUCHPOINT}) | odd,
    "traits": st.just({"email": "a@b.example"}) | odd,
    "context": odd,
    "unclean": st.just(True),
}
contexts = {
    "page": pages | odd,
    "userAgent": st.sampled_from([BROWSER, "Googlebot/2.1", ""]) | odd,
    "ip": st.sampled_from(["203.0.113.7", "::1", "nowhere"]) | odd,
    "campaign": st.sampled_from([{"source": "x", "medium": "email"}, {}]) | odd,
    "channel": st.sampled_from(["store", "moon"]) | odd,
    "acquisition": st.just("cpc") | odd,
    "externalIds": st.just([{"id": "d1", "type": "device_id"}]) | odd,
    "ids": st.sampled_from([{"email": "A@b.example"}, {"unknown": "x"}]) | odd,
    "consent": st.just({"categoryPreferences": {"analytics": True}}),
}


def some(members: dict[str, st.SearchStrategy[Any]], at_most: int) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the members."""
    pairs = [st.tuples(st.just(name), values) for name, values in members.items()]
    return st.lists(st.one_of(pairs), max_size=at_most).map(dict)


raws = st.builds(
    lambda fields, context, changes: RawTouchpoint(**{**fields, "context": context, **changes}),
    usual, some(contexts, 5), some(unusual, 2),
)  # fmt: skip
policies = st.builds(
    lambda source, headers: (source, Policy(source, key=b"k" * 16).on(headers)),
    st.sampled_from(SOURCES),
    st.sampled_from([{}, {b"user-agent": b"Googlebot/2.1"}, {b"sec-gpc": b"1"}]),
)


def intake(source: Source, policy: Applied, arrival: Arrival, rules: IdentityRules) -> Intake:
    return Intake(source=source, arrival=arrival, rules=rules, new_id=lambda: "made", policy=policy)


def copied(raw: RawTouchpoint) -> RawTouchpoint:
    """Since the address of a touchpoint is hidden in its place."""
    fields = {name: getattr(raw, name) for name in raw.__struct_fields__}
    context = fields["context"]
    return RawTouchpoint(**{**fields, "context": dict(context) if type(context) is dict else context})


@given(raws, policies, st.sampled_from(ARRIVALS), st.sampled_from(RULES))
@settings(max_examples=600, deadline=None)
def test_what_is_plain_is_decided_as_with_all_checks(
    raw: RawTouchpoint, sender: tuple[Source, Applied], arrival: Arrival, rules: IdentityRules
) -> None:
    given = intake(*sender, arrival, rules)
    decision = Plain(given, sender[1], Visitors(rules)).decide(copied(raw))
    if decision is not None:
        assert decision == accept(raw, given)
    assert sender[1].bots == 0 or decision is None


def decided(item: Any, policy: Applied | None = None, sent_at: object = None) -> Accepted | None:
    [raw] = parse_batch(json.dumps({"batch": [item]}).encode()).items
    assert raw is not None
    applied = policy or Policy(SHOP).on({})
    return Plain(intake(SHOP, applied, Arrival.of(AT, sent_at, False), RULES[0]), applied, Visitors(RULES[0])).decide(
        raw
    )


@pytest.mark.parametrize("item", [
    sent(timestamp="2026-11-23T09:59:00.5Z"),
    sent(timestamp="2026-11-23T09:59:00+00:00", anonymousId="a1", properties={"n": 1}, context={"ip": "203.0.113.7"}),
    {"type": "page", "messageId": "m", "anonymousId": "a1", "timestamp": "2026-11-23T10:00:00Z", "properties": {}},
    {"type": "screen", "name": "Basket", "messageId": "m", "userId": "ü", "timestamp": "2026-11-23T10:00:00Z"},
])  # fmt: skip
def test_what_most_clients_send_is_plain(item: Any) -> None:
    assert decided(item) is not None


@pytest.mark.parametrize("item", [
    sent(), sent(timestamp="2026-11-23T10:30:00Z"), sent(timestamp="2026-11-23T10:00:00Z", userId=7),
    sent(timestamp="2026-11-23T10:00:00Z", context={"userAgent": "Googlebot/2.1"}),
    sent(timestamp="2026-11-23T10:00:00Z", type="identify"), sent(timestamp="2026-11-23T10:00:00Z", messageId=None),
])  # fmt: skip
def test_what_needs_a_second_look_is_not(item: Any) -> None:
    assert decided(item) is None


def test_nothing_is_plain_of_a_clock_that_is_wrong() -> None:
    item = sent(timestamp="2026-11-23T10:00:00Z")
    assert decided(item, sent_at=(AT - timedelta(minutes=7)).isoformat()) is None
    assert decided(item, sent_at=AT.isoformat()) is not None
