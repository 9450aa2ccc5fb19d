"""What a source wants done with its touchpoints: bots, consent, plan and privacy, on each touchpoint before the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.accept import Accepted
from services.ingest.dialects.segment import parse_batch
from services.ingest.plan import compile_plan
from services.ingest.policy import Applied, Policy
from services.ingest.privacy import MARK
from services.ingest.reasons import Rejection
from shared.keys import Consent, Privacy, Source, TrackingPlan
from shared.touchpoint import Touchpoint
from tests.support.sent import decide, decide_all, sent

KEY = b"0123456789abcdef"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
FILE = Path("shop.yaml")
PLAN = compile_plan(
    {
        "events": {"Order Completed": {"required": ["revenue"], "properties": {"revenue": {"type": "number"}}}},
        "identify": {"properties": {"a/b": {"type": "string"}}},
    }
)


def source(**terms: Any) -> Source:
    return Source(**{"name": "shop", "kind": "browser", "write_keys": ["key"], **terms})


def policy(headers: dict[bytes, bytes] | None = None, **terms: Any) -> Applied:
    return Policy(source(**terms), key=KEY, plan=PLAN if "plan" in terms else None).on(headers or {})


def taken(item: dict[str, Any], applied: Applied) -> Touchpoint:
    decision = decide(item, policy=applied)
    assert isinstance(decision, Accepted), decision
    return decision.touchpoint


def refused(item: dict[str, Any], applied: Applied) -> Rejection:
    decision = decide(item, policy=applied)
    assert isinstance(decision, Rejection), decision
    return decision


def letter(item: Any, applied: Applied) -> bytes:
    parsed = parse_batch(json.dumps({"batch": [item]}).encode())
    return applied.letter(parsed.items[0], parsed.original(0))


class TestBots:
    def test_they_are_marked_and_counted(self) -> None:
        applied = policy()
        assert taken(sent(context={"userAgent": GOOGLEBOT}), applied).flags == ("time_received", "bot")
        assert applied.bots == 1

    def test_a_visitors_browser_is_known_by_the_header_too(self) -> None:
        header = {b"user-agent": GOOGLEBOT.encode()}
        assert "bot" in taken(sent(), policy(header)).flags
        assert "bot" not in taken(sent(), policy(header, kind="server")).flags

    def test_the_touchpoints_own_agent_goes_before_the_headers(self) -> None:
        assert "bot" not in taken(sent(context={"userAgent": "Mozilla/5.0"}), policy({b"user-agent": b"x"})).flags

    def test_a_source_may_refuse_them_or_take_them_for_people(self) -> None:
        item = sent(context={"userAgent": GOOGLEBOT})
        assert refused(item, policy(bots="drop")).reason == "bot"
        assert "bot" not in taken(item, policy(bots="stitch")).flags

    @pytest.mark.parametrize("agent", [7, None, [], {}])
    def test_an_agent_that_is_no_text_says_nothing(self, agent: object) -> None:
        assert "bot" not in taken(sent(context={"userAgent": agent}), policy()).flags


class TestConsent:
    TERMS = Consent(require=["Analytics", "marketing"])

    @staticmethod
    def agreed(**categories: object) -> dict[str, Any]:
        return {"consent": {"categoryPreferences": categories}}

    def test_who_agreed_to_all_that_is_required_is_taken(self) -> None:
        taken(sent(context=self.agreed(analytics=True, Marketing=True, other=False)), policy(consent=self.TERMS))

    @pytest.mark.parametrize(
        "context",
        [
            {}, {"consent": None}, {"consent": {"categoryPreferences": []}}, {"consent": {"categoryPreferences": {}}},
            {"consent": {"categoryPreferences": {"analytics": True, "marketing": False}}},
            {"consent": {"categoryPreferences": {"analytics": "true", "marketing": 1}}},
        ],
    )  # fmt: skip
    def test_what_was_not_agreed_to_is_dropped(self, context: dict[str, Any]) -> None:
        assert refused(sent(context=context), policy(consent=self.TERMS)).reason == "consent_missing"

    def test_global_privacy_control_is_a_refusal_unless_the_source_ignores_it(self) -> None:
        context = self.agreed(analytics=True, marketing=True)
        header, ignored = {b"sec-gpc": b"1"}, Consent(require=self.TERMS.require, gpc="ignore")
        assert refused(sent(context=context), policy(header, consent=self.TERMS)).reason == "consent_missing"
        assert refused(sent(context={**context, "gpc": True}), policy(consent=self.TERMS)).reason == "consent_missing"
        taken(sent(context=context), policy(header, consent=ignored))
        taken(sent(), policy(header))

    def test_a_letter_keeps_nothing_of_who_did_not_agree_whatever_its_reason(self) -> None:
        agreed = self.agreed(analytics=True, marketing=True)
        assert letter(sent(event=None), policy(consent=self.TERMS)) == b""
        assert letter(sent(event=None, context=agreed), policy({b"sec-gpc": b"1"}, consent=self.TERMS)) == b""
        assert letter("text", policy(consent=self.TERMS)) == b""
        assert letter(sent(event=None, context=agreed), policy(consent=self.TERMS)) != b""

    def test_anonymised_it_says_what_was_done_and_not_by_whom(self) -> None:
        terms = Consent(require=["analytics"], otherwise="anonymise")
        page = {"url": "https://shop.example/", "referrer": "https://www.google.com/"}
        context = {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0", "traits": {"email": "a@b.example"},
                   "externalIds": [{"id": "c1", "type": "card"}], "ids": {"card": "c1"}, "device": {"id": "d1"},
                   "page": page}  # fmt: skip
        item = sent(anonymousId="a1", context=context, properties={"price": 1}, traits={"name": "Ada"})
        touchpoint = taken(item, policy(consent=terms))
        assert touchpoint.ids == {"anonymous_id": "a1"}
        assert (touchpoint.context, touchpoint.traits) == ({"page": page}, {})
        assert touchpoint.properties == {"price": 1}
        assert "anonymised" in touchpoint.flags
        assert touchpoint.acquisition == "Organic Search"

    @pytest.mark.parametrize(
        "item", [sent(), sent(type="identify", anonymousId="a1"), sent(type="alias", anonymousId="a1", previousId="p")]
    )
    def test_where_nothing_nameless_is_left_it_is_dropped(self, item: dict[str, Any]) -> None:
        terms = Consent(require=["analytics"], otherwise="anonymise")
        assert refused(item, policy(consent=terms)).reason == "consent_missing"


class TestPrivacy:
    @pytest.mark.parametrize(
        ("address", "kept"),
        [
            ("203.0.113.77", "203.0.113.0"), ("2001:db8:1:2:3::4", "2001:db8:1::"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            (" 203.0.113.77 ", "203.0.113.0"), ("203.0.113.0", "203.0.113.0"), ("localhost", None), (7, None),
            ("1" * 100, None),
        ],
    )  # fmt: skip
    def test_addresses_are_cut_short(self, address: object, kept: str | None) -> None:
        assert taken(sent(context={"ip": address}), policy()).context.get("ip") == kept

    def test_a_source_may_keep_or_drop_them(self) -> None:
        item = sent(context={"ip": "203.0.113.77"})
        assert taken(item, policy(privacy=Privacy(ip="keep"))).context == {"ip": "203.0.113.77"}
        assert taken(item, policy(privacy=Privacy(ip="drop"))).context == {}

    def test_fields_are_dropped_and_hashed(self) -> None:
        rules = Privacy(drop=["properties.card.number", "context.screen"], hash=["traits.email", "properties.tags"])
        item = sent(
            properties={"card": {"number": 1, "brand": "v"}, "tags": ["a"]}, traits={"email": "a@b.example"},
            context={"screen": {}, "locale": "de"},
        )  # fmt: skip
        touchpoint = taken(item, policy(privacy=rules))
        assert touchpoint.properties["card"] == {"brand": "v"}
        assert touchpoint.context == {"locale": "de"}
        assert touchpoint.traits["email"].startswith(MARK)
        assert touchpoint.properties["tags"].startswith(MARK)

    def test_hashes_need_the_key_and_keep_what_is_equal_equal(self) -> None:
        item, rules = sent(traits={"email": "a@b.example"}), Privacy(hash=["traits.email"])
        one, other = (Policy(source(privacy=rules), key=key).on({}) for key in (KEY, KEY[::-1]))
        first, second, foreign = (taken(item, by).traits["email"] for by in (one, one, other))
        assert first == second != foreign
        assert taken(sent(traits={"email": first}), one).traits["email"] == first
        assert taken(sent(traits={"email": None}), one).traits == {"email": None}

    def test_a_hashed_identifier_is_said_nowhere_else(self) -> None:
        context = {"traits": {"email": "a@b.example"}, "ids": {"email": "a@b.example"},
                   "externalIds": [{"id": "a@b.example", "type": "email"}]}  # fmt: skip
        item = sent(type="identify", traits={"email": "A@b.example ", "name": "Ada"}, context=context)
        touchpoint = taken(item, policy(privacy=Privacy(hash=["ids.email"])))
        assert set(touchpoint.ids) == {"user_id", "email"}
        assert touchpoint.ids["email"].startswith(MARK)
        assert touchpoint.traits == {"name": "Ada"}
        assert "b.example" not in json.dumps([touchpoint.context, touchpoint.traits])

    def test_an_alias_hashes_both_user_ids(self) -> None:
        rules = Privacy(hash=["ids.user_id"])
        alias = taken(sent(type="alias", userId="u2", previousId="u1"), policy(privacy=rules))
        assert alias.previous_id == taken(sent(userId="u1"), policy(privacy=rules)).ids["user_id"]

    def test_without_any_identifier_left_it_is_rejected(self) -> None:
        assert refused(sent(), policy(privacy=Privacy(drop=["ids.user_id"]))).reason == "identifier_missing"

    def test_neighbours_that_share_a_context_are_each_hashed_once(self) -> None:
        applied = policy(privacy=Privacy(hash=["context.app.user"]))
        body = {"batch": [sent(), sent(messageId="m2")], "context": {"app": {"user": "u"}}}
        one, other = decide_all(json.dumps(body).encode(), policy=applied)
        assert isinstance(one, Accepted)
        assert isinstance(other, Accepted)
        assert one.touchpoint.context == other.touchpoint.context
        assert other.touchpoint.context["app"]["user"].startswith(MARK)


class TestLetters:
    ITEM = sent(event=None, traits={"email": "a@b.example"}, context={"ip": "203.0.113.77"})

    def test_it_is_what_was_sent_where_nothing_is_hidden(self) -> None:
        item = sent(event=None, traits={"email": "a@b.example"})
        assert letter(item, policy()) == json.dumps(item).encode()
        assert letter("text", policy()) == b'"text"'
        assert json.loads(letter(self.ITEM, policy(privacy=Privacy(ip="keep")))) == self.ITEM

    def test_it_hides_what_its_touchpoint_would_have_hidden(self) -> None:
        rules = Privacy(drop=["context.locale"], hash=["traits.email", "ids.user_id"])
        kept = json.loads(letter(self.ITEM, policy(privacy=rules)))
        assert kept["traits"]["email"].startswith(MARK)
        assert kept["userId"].startswith(MARK)
        assert kept["context"] == {"ip": "203.0.113.0"}
        assert (kept["type"], kept["messageId"]) == ("track", "m1")

    def test_a_letter_sent_again_is_hidden_as_it_was(self) -> None:
        applied = policy(privacy=Privacy(hash=["ids.user_id", "traits.email"]))
        again = json.loads(letter(self.ITEM, applied)) | {"event": "Product Viewed"}
        fixed = self.ITEM | {"event": "Product Viewed"}
        assert taken(again, applied).ids == taken(fixed, applied).ids
        assert taken(again, applied).traits == taken(fixed, applied).traits

    def test_what_is_no_object_is_not_kept_where_something_is_hidden(self) -> None:
        assert letter("a@b.example", policy(privacy=Privacy(drop=["traits.email"]))) == b""


class TestPlan:
    @staticmethod
    def planned(**how: Any) -> Applied:
        return policy(plan=TrackingPlan(file=FILE, **how))

    def test_what_is_as_planned_is_taken_unmarked(self) -> None:
        applied = self.planned(mode="reject", unplanned="reject")
        assert taken(sent(event="Order Completed", properties={"revenue": 12.5}), applied).flags == ("time_received",)
        taken(sent(type="page"), applied)
        assert applied.violations == []

    def test_warn_marks_and_counts(self) -> None:
        applied = self.planned()
        assert "plan_violated" in taken(sent(event="Order Completed"), applied).flags
        assert applied.violations == ["Order Completed"]

    def test_reject_points_at_the_bad_field_and_never_tells_what_was_sent(self) -> None:
        wrong = refused(
            sent(event="Order Completed", properties={"revenue": "a@b.example"}), self.planned(mode="reject")
        )
        assert wrong.reason == "plan_violated"
        assert wrong.message.startswith("/properties/revenue: ")
        assert "a@b.example" not in wrong.message
        assert wrong.id == "m1"

    def test_traits_are_planned_too_and_pointers_are_escaped(self) -> None:
        wrong = refused(sent(type="identify", traits={"a/b": 7}), self.planned(mode="reject"))
        assert wrong.message.startswith("/traits/a~1b: ")

    def test_events_that_are_not_planned_are_one_in_the_counts(self) -> None:
        applied = self.planned(unplanned="warn")
        assert "plan_violated" in taken(sent(event="Whatever 123"), applied).flags
        assert applied.violations == ["(unplanned)"]
        assert "plan_violated" not in taken(sent(event="Whatever"), self.planned()).flags
        assert refused(sent(event="Whatever"), self.planned(unplanned="reject")).message.startswith("/event: ")

    def test_the_plan_sees_what_privacy_takes_away(self) -> None:
        plan, rules = TrackingPlan(file=FILE, mode="reject"), Privacy(drop=["properties.revenue"])
        item = sent(event="Order Completed", properties={"revenue": 1})
        assert taken(item, policy(plan=plan, privacy=rules)).properties == {}


def test_without_a_policy_nothing_of_this_happens() -> None:
    item = sent(context={"ip": "203.0.113.77", "userAgent": GOOGLEBOT})
    decision = decide(item)
    assert isinstance(decision, Accepted)
    assert (decision.touchpoint.flags, decision.touchpoint.context["ip"]) == (("time_received",), "203.0.113.77")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["ip", "userAgent", "consent", "categoryPreferences", "gpc", "traits", "ids", "externalIds", "email", "type", "id"]
)
NESTED = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES | st.lists(st.dictionaries(NAMES, VALUES))))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(context=NESTED, traits=NESTED | VALUES, user=VALUES, type_=st.sampled_from(["identify", "alias", "track"]))
def test_whatever_shape_things_have_a_policy_decides_and_a_letter_can_be_written(
    context: dict[str, Any], traits: Any, user: Any, type_: str
) -> None:
    applied = STRICT.on({})
    item = sent(type=type_, context=context, traits=traits, userId=user, anonymousId="a1", previousId=user)
    decide(item, policy=applied)
    letter(item, applied)


STRICT = Policy(
    source(
        consent=Consent(otherwise="anonymise"),
        privacy=Privacy(drop=["context.traits.id", "ids.phone"], hash=["ids.user_id", "ids.email", "traits.email.id"]),
    ),
    key=KEY,
)
