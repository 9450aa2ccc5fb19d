"""Who a touchpoint is about: where identifiers come from, how they are kept, which are none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.accept import Accepted
from services.ingest.identifiers import identifier
from shared.identifiers import IdentityRules
from tests.support.sent import decide, reason, sent, taken

RULES = IdentityRules()


def ids(**fields: Any) -> dict[str, str]:
    return taken(sent(userId=None, anonymousId="a1", **fields)).ids


def dropped(item: dict[str, Any]) -> list[str]:
    decision = decide(item)
    assert isinstance(decision, Accepted)
    return decision.dropped


def test_identifiers_come_from_every_place() -> None:
    item = sent(
        type="identify",
        anonymousId="a1",
        context={"externalIds": [{"id": "c1", "type": "card"}], "ids": {"device_id": "d1"}},
        traits={"email": "Jo@Example.com", "phone": "+49 (30) 12"},
    )
    assert taken(item).ids == {
        "user_id": "u1", "anonymous_id": "a1", "card": "c1", "device_id": "d1", "email": "jo@example.com",
        "phone": "+493012",
    }  # fmt: skip


def test_the_first_place_that_has_a_kind_gives_it() -> None:
    external = {"externalIds": [{"id": "first@x.y", "type": "email"}], "ids": {"email": "second@x.y"}}
    assert ids(type="identify", context=external, traits={"email": "third@x.y"})["email"] == "first@x.y"
    assert ids(type="identify", context={"traits": {"email": "c@x.y"}}, traits={"email": "r@x.y"})["email"] == "r@x.y"


def test_a_placeholder_leaves_the_place_to_the_next() -> None:
    assert (
        ids(context={"externalIds": [{"id": "null", "type": "email"}], "ids": {"email": "e@x.y"}})["email"] == "e@x.y"
    )


def test_traits_give_identifiers_on_identify_only() -> None:
    assert ids(type="track", traits={"email": "e@x.y"}) == {"anonymous_id": "a1"}
    assert ids(type="identify", context={"traits": {"email": "e@x.y"}}) == {"anonymous_id": "a1", "email": "e@x.y"}


def test_unknown_kinds_stay_in_context_and_are_counted() -> None:
    item = sent(context={"ids": {"loyalty": "l1"}, "externalIds": [{"id": [1], "type": "ios.idfa"}]})
    assert taken(item).ids == {"user_id": "u1"}
    assert taken(item).context["ids"] == {"loyalty": "l1"}
    assert dropped(item) == ["unknown_kind", "unknown_kind"]


def test_odd_shapes_of_context_are_no_identifiers() -> None:
    assert ids(context={"externalIds": {"id": 1}, "ids": ["x"]}) == {"anonymous_id": "a1"}
    assert ids(context={"externalIds": [7, {"id": "x"}, {"type": "email"}]}) == {"anonymous_id": "a1"}


@pytest.mark.parametrize(
    "placeholder",
    ["", " ", "null", "NULL", " undefined ", "None", "nil", "NaN", "anonymous", "Guest", "unknown", "0", "-1", "True",
     "false", "[object Object]", "00000000-0000-0000-0000-000000000000", "---", "000"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["user_id", "email", "phone", "anonymous_id"])
def test_placeholders_are_no_identifiers(placeholder: str, kind: str) -> None:
    assert identifier(kind, placeholder, RULES) is None


def test_a_dropped_placeholder_is_counted_and_its_touchpoint_kept() -> None:
    item = sent(userId="null", anonymousId="a1")
    assert taken(item).ids == {"anonymous_id": "a1"}
    assert dropped(item) == ["placeholder"]


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("user_id", 42, "42"),
        ("user_id", -(2**63), str(-(2**63))),
        ("user_id", 2**63 - 1, str(2**63 - 1)),
        ("user_id", "  Mixed Case ", "Mixed Case"),
        ("user_id", "e\u0301", "\u00e9"),
        ("email", " JO@Example.COM ", "jo@example.com"),
        ("phone", " +49 (0)30/123-45 ", "+4903012345"),
        ("phone", "0030 123", "0030123"),
        ("phone", "call me", None),
        ("anonymous_id", "0a", "0a"),
    ],
)
def test_identifiers_are_normalised(kind: str, value: object, kept: str | None) -> None:
    assert identifier(kind, value, RULES) == kept


@pytest.mark.parametrize("value", [True, 1.0, [], {}, "a\0", "\ud800", "x\udfff"])
@pytest.mark.parametrize("place", ["userId", "anonymousId"])
def test_what_can_be_no_identifier_rejects(value: object, place: str) -> None:
    assert reason({**sent(anonymousId="a1"), place: value}) == "identifier_invalid"


@pytest.mark.parametrize("value", [True, 1.5, ["e@x.y"], "e\0@x.y"])
def test_what_can_be_no_identifier_rejects_wherever_it_stands(value: object) -> None:
    assert reason(sent(context={"ids": {"email": value}})) == "identifier_invalid"
    assert reason(sent(context={"externalIds": [{"type": "email", "id": value}]})) == "identifier_invalid"
    assert reason(sent(type="identify", traits={"email": value})) == "identifier_invalid"


@given(st.text(max_size=300), st.sampled_from(RULES.kinds))
def test_what_is_kept_is_kept_as_it_is_the_second_time(value: str, kind: str) -> None:
    kept = identifier(kind, value, RULES)
    if isinstance(kept, str):
        assert identifier(kind, kept, RULES) == kept
        assert len(kept.encode()) <= 256
        assert "\0" not in kept
