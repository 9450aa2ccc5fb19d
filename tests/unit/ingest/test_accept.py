"""What becomes of a touchpoint, and each reason to reject one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.ingest.accept import MAX_TOUCHPOINT, Accepted
from services.ingest.reasons import REASONS
from shared.touchpoint import Touchpoint
from tests.support.sent import AT, decide, decide_all, reason, sent, taken


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_a_track_becomes_what_design_says() -> None:
    item = sent(anonymousId="a1", timestamp="2026-11-23T10:00:00.123Z", properties={"price": 9.5}, context={"ip": "x"})
    touchpoint = taken(item)
    assert touchpoint == Touchpoint(
        id="m1",
        type="track",
        event="Product Viewed",
        time=AT.replace(microsecond=123000),
        received_at=AT,
        source="shop",
        channel="web",
        ids={"user_id": "u1", "anonymous_id": "a1"},
        properties={"price": 9.5},
        context={"ip": "x"},
    )


def test_what_is_encoded_decodes_to_the_touchpoint_and_is_keyed_by_the_highest_identifier() -> None:
    decision = decide(sent(anonymousId="a1", traits={"ä": [1, None, True]}))
    assert isinstance(decision, Accepted)
    assert msgspec.json.decode(decision.value, type=Touchpoint) == decision.touchpoint
    assert decision.key == b"user_id:u1"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (7, "not_an_object"),
        (None, "not_an_object"),
        ([sent()], "not_an_object"),
        (sent(properties="x"), "not_an_object"),
        (sent(context=[1]), "not_an_object"),
        (sent(traits=True), "not_an_object"),
        (sent(type=None), "type_unknown"),
        (sent(type="Track"), "type_unknown"),
        (sent(type=["track"]), "type_unknown"),
        (sent(userId=None), "identifier_missing"),
        (sent(userId="null", anonymousId=" 0000-0000 "), "identifier_missing"),
        (sent(userId=True), "identifier_invalid"),
        (sent(userId=1.5), "identifier_invalid"),
        (sent(userId=["u1"]), "identifier_invalid"),
        (sent(userId={"id": 1}), "identifier_invalid"),
        (sent(userId=2**64), "identifier_invalid"),
        (sent(userId="a\0b"), "identifier_invalid"),
        (sent(anonymousId="a\ud800b"), "identifier_invalid"),
        (sent(messageId={"a": 1}), "identifier_invalid"),
        (sent(userId="x" * 257), "identifier_too_long"),
        (sent(userId="ü" * 129), "identifier_too_long"),
        (sent(messageId="m" * 257), "identifier_too_long"),
        (sent(event=None), "event_missing"),
        (sent(event=" "), "event_missing"),
        (sent(event={"name": "x"}), "event_missing"),
        (sent(type="alias"), "previous_id_missing"),
        (sent(type="alias", previousId="Undefined"), "previous_id_missing"),
        (sent(type="alias", previousId=[1]), "identifier_invalid"),
        (sent(type="alias", userId=None, anonymousId="a1", previousId="a1"), "identifier_missing"),
        (sent(type="group"), "group_id_missing"),
        (sent(type="group", groupId=""), "group_id_missing"),
        (sent(type="group", groupId=[]), "identifier_invalid"),
        (sent(timestamp="yesterday"), "time_invalid"),
        (sent(timestamp=1700000000), "time_invalid"),
        (sent(timestamp="1999-12-31T23:59:59.999999Z"), "time_out_of_range"),
        (sent(timestamp="2026-11-24T10:00:00.123457Z"), "time_out_of_range"),
        (sent(timestamp="9999-12-31T23:59:59-12:00"), "time_out_of_range"),
        (sent(properties={"x": "y" * MAX_TOUCHPOINT}), "too_large"),
        (sent(properties=nested(40)), "too_deep"),
    ],
)
def test_each_reason(item: Any, expected: str) -> None:
    assert reason(item) == expected
    assert expected in REASONS


def test_every_reason_of_the_closed_list_has_a_sentence() -> None:
    assert all(message and name.islower() for name, message in REASONS.items())


def test_limits_are_inclusive() -> None:
    assert taken(sent(userId="ü" * 128)).ids == {"user_id": "ü" * 128}
    assert taken(sent(properties=nested(39))).properties == nested(39)
    spare = MAX_TOUCHPOINT - len(decided(sent(properties={"x": ""})).value)
    assert len(decided(sent(properties={"x": "y" * spare})).value) == MAX_TOUCHPOINT
    assert reason(sent(properties={"x": "y" * (spare + 1)})) == "too_large"


def decided(item: Any) -> Accepted:
    decision = decide(item)
    assert isinstance(decision, Accepted)
    return decision


def test_explicit_nulls_are_absent() -> None:
    nulls = dict.fromkeys(("anonymousId", "timestamp", "properties", "traits", "context", "messageId"))
    touchpoint = taken(sent(**nulls))
    assert (touchpoint.id, touchpoint.ids, touchpoint.properties) == ("made", {"user_id": "u1"}, {})


def test_an_empty_list_is_an_empty_object_as_php_sends_it() -> None:
    assert taken(sent(properties=[], context=[])).properties == {}


def test_an_id_is_kept_as_sent_and_made_when_it_is_blank() -> None:
    assert taken(sent(messageId=" m 1 ")).id == " m 1 "
    assert taken(sent(messageId="")).id == "made"
    assert taken(sent(messageId=17)).id == "17"
    assert taken(sent(messageId="0")).id == "0"


def test_the_event_of_a_page_is_its_name_if_it_has_one() -> None:
    assert taken(sent(type="page", name="Home", event="other")).event == "Home"
    assert taken(sent(type="screen", event="other")).event is None
    assert taken(sent(type="identify", name="x")).event is None


def test_an_alias_keeps_its_previous_id_normalised() -> None:
    touchpoint = taken(sent(type="alias", previousId=" old ", anonymousId="a1"))
    assert touchpoint.previous_id == "old"
    assert touchpoint.ids == {"user_id": "u1", "anonymous_id": "a1"}


def test_a_group_keeps_its_group() -> None:
    assert taken(sent(type="group", groupId=12)).group_id == "12"


def test_a_rejection_names_the_touchpoint_if_it_can() -> None:
    decisions = decide_all(b'{"batch":[{"messageId":"m7"},{"messageId":[1]},3]}')
    assert [getattr(decision, "id", 0) for decision in decisions] == ["m7", None, None]


def test_the_time_received_stands_in_for_none() -> None:
    touchpoint = taken(sent(), sent_at="2020-01-01T00:00:00Z")
    assert (touchpoint.time, touchpoint.flags) == (AT, ("time_received",))


def test_the_original_timestamp_stands_in_for_the_timestamp() -> None:
    item = sent(originalTimestamp="2026-11-23T09:00:00Z")
    assert taken(item).time.hour == 9
    assert taken({**item, "timestamp": "2026-11-23T08:00:00Z"}).time.hour == 8


def test_an_identify_without_traits_has_those_of_its_context() -> None:
    spoken = {"traits": {"plan": "pro"}}
    assert taken(sent(type="identify", context=spoken)).traits == {"plan": "pro"}
    assert taken(sent(type="identify", context=spoken, traits={"plan": "free"})).traits == {"plan": "free"}
    assert taken(sent(type="identify", context={"traits": "x"})).traits == {}
    assert taken(sent(type="track", context=spoken)).traits == {}
