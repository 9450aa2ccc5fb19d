"""Webhooks: what a mapping says, what it makes of bodies, who may send, and what is wrong with a mapping."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.accept import Accepted
from services.ingest.dialects.dialect import Dialect, Outcome
from services.ingest.dialects.hooks import moment, parsed
from services.ingest.dialects.mapping import Mapping, Rule, mapping_of
from services.ingest.dialects.raw import Parsed, RawTouchpoint
from services.ingest.errors import Refusal
from services.ingest.hook_files import SHIPPED, load_hooks, ready, written
from services.ingest.reasons import Rejection
from services.ingest.routes import routes
from services.ingest.signatures import SCHEMES, signature_of
from shared.identifiers import IdentityRules
from shared.keys import EndingKey, Source
from shared.touchpoint import Touchpoint
from tests.support.calls import Asked
from tests.support.sent import decide_parsed

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
PLAIN = {"event": "E", "ids": {"user_id": "u"}}


def asked(body: Any, headers: dict[str, str] | None = None, query: dict[str, str] | None = None) -> Asked:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Asked(
        "POST", "/v1/hooks/s", query or {}, {k.encode(): v.encode() for k, v in (headers or {}).items()}, content
    )


def read(mapping: dict[str, Any], body: Any, **request: Any) -> Parsed:
    return parsed(mapping_of({**PLAIN, **mapping}), asked(body, **request), "s")


def raw(mapping: dict[str, Any], body: Any, **request: Any) -> RawTouchpoint:
    [item] = read(mapping, body, **request).items
    assert item is not None
    return item


def becomes(mapping: dict[str, Any], body: Any, **request: Any) -> list[Touchpoint | str]:
    """The touchpoints of a body, or the reasons why they are none."""
    decisions = decide_parsed(read(mapping, body, **request))
    return [one.touchpoint if isinstance(one, Accepted) else one.reason for one in decisions]


def refused(what: Callable[[], Any]) -> str:
    with pytest.raises(Refusal) as error:
        what()
    return error.value.code


def test_words_are_themselves_and_everything_else_is_looked_for_in_the_body() -> None:
    mapping = {
        "type": "page", "event": "a.b", "channel": "phone", "acquisition": "Email", "time": "at", "id": "n",
        "ids": {"email": "a.mail", "card": "card"}, "properties": {"price": "a.p", "none": "a.q", "fix": 7},
        "traits": {"t": "a"}, "context": {"campaign": "{source: src, medium: 'x'}"},
    }  # fmt: skip
    body = {"a": {"mail": "A@x.example", "p": 0}, "at": "2026-11-23T10:00:00Z", "n": "m1", "card": 77, "src": "s"}
    [one] = becomes(mapping, body)
    assert isinstance(one, Touchpoint)
    assert (one.type, one.event, one.channel, one.acquisition, one.id) == ("page", "a.b", "phone", "Email", "m1")
    assert one.ids == {"email": "a@x.example", "card": "77"}
    assert one.properties == {"price": 0, "fix": 7}
    assert one.traits == {"t": body["a"]}
    assert one.context["campaign"] == {"source": "s", "medium": "x"}


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        ({"of": "x"}, "go", "go"),
        ({"of": "x", "as": {"go": "Went"}}, "go", "Went"),
        ({"of": "x", "as": {"go": "Went"}}, "stay", "stay"),
        ({"of": "x", "as": {"go": "Went"}, "else": "Other"}, "stay", "Other"),
        ({"of": "x", "as": {"go": "Went"}, "else": "Other"}, None, "Other"),
        ({"of": "x", "else": "Other"}, None, "Other"),
        ({"of": "x", "else": "Other"}, "go", "go"),
        ({"of": "x", "as": {1: "One"}}, 1, "One"),
        ({"of": "x", "as": {1: "One"}}, "1", "One"),
        ({"of": "x", "as": {True: "Yes"}}, True, "Yes"),
    ],
)
def test_a_table_turns_what_is_found_into_what_is_meant(value: Any, found: Any, expected: Any) -> None:
    assert raw({"event": value}, {"x": found}).event == expected


def test_the_first_event_whose_condition_holds_is_taken() -> None:
    mapping = {
        "events": [
            {"when": "kind == 'a'", "event": "A", "properties": {"own": "p"}},
            {"when": "starts_with(kind, 'b')", "event": "B", "ids": {"email": "mail"}},
            {"when": "kind == 'noise'", "skip": True},
        ],
        "properties": {"all": "p"},
    }
    bodies: list[dict[str, Any]] = [
        {"kind": "a"},
        {"kind": "bb", "mail": "x@y.example"},
        {"kind": "noise"},
        {"kind": "c"},
        {},
        {"kind": 7},
    ]
    found = becomes(mapping, [{"u": "u1", "p": 1, **body} for body in bodies])
    assert [one.event if isinstance(one, Touchpoint) else one for one in found] == ["A", "B", *["unmapped"] * 3]
    first, second = found[:2]
    assert isinstance(first, Touchpoint)
    assert isinstance(second, Touchpoint)
    assert (first.properties, second.properties) == ({"all": 1, "own": 1}, {"all": 1})
    assert second.ids == {"user_id": "u1", "email": "x@y.example"}


@pytest.mark.parametrize(
    ("found", "is_taken"),
    [(None, False), (False, False), ("", False), ([], False), ({}, False), (0, True), ("no", True)],
)
def test_a_condition_holds_as_jmespath_has_it(found: Any, is_taken: bool) -> None:
    assert (becomes({"when": "x"}, {"u": "u1", "x": found}) == ["unmapped"]) is not is_taken


@pytest.mark.parametrize(
    ("each", "body", "users"),
    [
        ("a.list", {"a": {"list": [{"u": "1"}, {"u": "2"}]}}, ["1", "2"]),
        ("a.list", {"a": {"list": {"u": "1"}}}, ["1"]),
        ("a.list", {"a": {"list": []}}, []),
        ("a.list", {"u": "9"}, ["9"]),
        (None, [{"u": "1"}, {"u": "2"}], ["1", "2"]),
        (None, {"u": "1"}, ["1"]),
    ],
)
def test_a_body_is_one_or_many(each: str | None, body: Any, users: list[str]) -> None:
    mapping = {"each": each} if each else {}
    assert [item.user_id for item in read(mapping, body).items if item] == users


def test_what_is_no_object_spoils_no_neighbour() -> None:
    assert becomes({}, [1, {"u": "u1"}, None])[::2] == ["not_an_object", "not_an_object"]
    assert becomes({}, "text") == ["not_an_object"]


def test_expressions_ask_for_headers_query_and_the_whole_body() -> None:
    mapping = {
        "each": "rows",
        "properties": {
            "topic": "header('X-Topic')",
            "shop": "query('shop')",
            "total": "body().total",
            "no": "header('y')",
        },
    }
    [one, _] = read(
        mapping, {"rows": [{}, {}], "total": 2}, headers={"x-topic": "t"}, query={"shop": "7"}
    ).items  # fmt: skip
    assert one is not None
    assert one.properties == {"topic": "t", "shop": "7", "total": 2}


def test_money_and_text_are_brought_into_shape() -> None:
    properties = {"cents": "divide(n, `100`)", "low": "lower(t)", "cut": "after(t, 'AB')", "nothing": "divide(n, `0`)"}
    assert raw({"properties": properties}, {"n": 1299, "t": "ABC"}).properties == {
        "cents": 12.99,
        "low": "abc",
        "cut": "C",
    }


def test_a_field_that_cannot_be_worked_out_costs_no_touchpoint() -> None:
    [one] = becomes({"properties": {"low": "lower(n)", "sum": "sum(n)"}, "id": "join('-', [n])"}, {"u": "u1", "n": 5})
    assert isinstance(one, Touchpoint)
    assert one.properties == {}


def test_a_whole_object_may_be_the_properties() -> None:
    assert raw({"properties": "@"}, {"u": "u1", "x": [1]}).properties == {"u": "u1", "x": [1]}
    assert becomes({"properties": "x"}, {"u": "u1", "x": [1]}) == ["not_an_object"]


def test_without_an_id_the_same_body_has_the_same_ids_and_another_has_others() -> None:
    def ids(body: Any) -> list[Any]:
        return [item.message_id for item in read({}, body).items if item]

    twice = [{"u": "u1"}, {"u": "u1"}]
    assert ids(twice) == ids(twice)
    assert len({*ids(twice), *ids({"u": "u1"}), *ids({"u": "u2"})}) == 4
    assert raw({"id": "n"}, {"n": ""}).message_id == raw({}, {"n": ""}).message_id


def test_an_identifier_by_a_condition_that_does_not_hold_is_none() -> None:
    assert raw({"ids": {"user_id": "is && id", "phone": "no"}}, {"is": False, "id": "u1"}).user_id is None


def test_a_group_and_an_alias_name_the_other() -> None:
    [group] = becomes({"type": "group", "group": "account"}, {"u": "u1", "account": "acme"})
    [alias] = becomes({"type": "alias", "previous": "old"}, {"u": "u1", "old": "u0"})
    assert isinstance(group, Touchpoint)
    assert isinstance(alias, Touchpoint)
    assert (group.group_id, alias.previous_id) == ("acme", "u0")


def test_forms_are_bodies_and_json_that_says_it_is_a_form_too() -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert raw({"properties": "@"}, b"u=u1&x=a+%C3%BC&y=", headers=form).properties == {"u": "u1", "x": "a ü", "y": ""}
    assert raw({"properties": "@"}, b' {"u": 1}', headers=form).properties == {"u": 1}
    assert refused(lambda: read({}, b"u=u1")) == "body_not_json"


def test_depth_is_counted_from_the_touchpoint() -> None:
    def nested(levels: int) -> Any:
        return {"u": "u1", "x": json.loads("[" * levels + "]" * levels)}

    assert isinstance(becomes({"properties": {"x": "x"}}, nested(38))[0], Touchpoint)
    assert becomes({"properties": {"x": "x"}}, nested(39)) == ["too_deep"]
    assert becomes({"properties": {"x": "{a: {b: x}}"}}, nested(38)) == ["too_deep"]
    assert becomes({}, nested(500)) == ["too_deep"]


def test_what_is_rejected_can_be_read_as_it_came() -> None:
    single = read({"when": "no"}, b'{"u":  1}')
    assert single.original(0) == b'{"u":  1}'
    many = read({"events": [{"when": "a", "skip": True}, {"when": "b"}]}, [{"a": 1}, {"b": 1}, {"c": "ü"}])
    assert [json.loads(many.original(place)) for place in range(2)] == [{"b": 1}, {"c": "ü"}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1763892000, "2025-11-23T10:00:00+00:00"),
        (1763892000.5, "2025-11-23T10:00:00.500000+00:00"),
        (1763892000123, "2025-11-23T10:00:00.123000+00:00"),
        (1763892000123456, "2025-11-23T10:00:00.123456+00:00"),
        ("1763892000", "2025-11-23T10:00:00+00:00"),
        ("20251123", "20251123"),
        ("2025-11-23T10:00:00Z", "2025-11-23T10:00:00Z"),
        ("Sun, 23 Nov 2025 10:00:00 +0000", "2025-11-23T10:00:00+00:00"),
        ("Sun Nov 23 10:00:00 +0000 2025", "2025-11-23T10:00:00+00:00"),
        ("2025-11-23 10:00:00 +0100", "2025-11-23T10:00:00+01:00"),
        ("2025-11-23 10:00:00 UTC", "2025-11-23T10:00:00"),
        (None, None),
        (True, True),
        ([1], [1]),
        (-1, "-1"),
        (10**18, "1000000000000000000"),
        (float("inf"), "inf"),
    ],
)
def test_times_are_read_as_products_write_them(given: Any, expected: Any) -> None:
    assert moment(given) == expected


def source(hook: Any, **more: Any) -> Source:
    return Source(**{"name": "s", "kind": "server", "hook": hook, "write_keys": ["key"], **more})


def dialect(given: Source, config: Path = Path("none"), environment: dict[str, str] | None = None) -> Dialect:
    return load_hooks([given], config, IdentityRules(), environment or {}, lambda: NOW)["s"]


def test_without_a_signature_the_key_of_the_source_is_wanted_while_it_lasts() -> None:
    keys = [EndingKey(key="old", until=NOW), EndingKey(key="new", until=NOW + timedelta(seconds=1))]
    parse = dialect(source(PLAIN, write_keys=keys)).parse
    assert parse(asked({}, query={"writeKey": "new"})).source == "s"
    assert refused(lambda: parse(asked({}))) == "key_missing"
    assert refused(lambda: parse(asked({}, {"x-write-key": "other"}))) == "key_unknown"
    assert refused(lambda: parse(asked({}, {"x-write-key": "old"}))) == "key_ended"


def test_with_a_signature_no_key_is_of_use() -> None:
    parse = dialect(source({**PLAIN, "signature": {"scheme": "shopify", "secret": "s"}}, write_keys=[])).parse
    assert refused(lambda: parse(asked({}, {"x-write-key": "key"}))) == "signature_invalid"


def test_a_path_for_each_hook_with_and_without_a_slash() -> None:
    one = dialect(source(PLAIN))
    assert routes({"s": one})["/v1/hooks/s"] is routes({"s": one})["/v1/hooks/s/"] is one


def test_the_sender_reads_what_the_mapping_says() -> None:
    answer = dialect(source({**PLAIN, "answer": {"type": "text/xml", "body": "<R/>"}})).answer(Outcome(1, []))
    assert (answer.body, answer.content_type, answer.status) == (b"<R/>", "text/xml", 200)
    assert json.loads(dialect(source(PLAIN)).answer(Outcome(1, [])).body)["accepted"] == 1


def test_a_mapping_of_the_configuration_wins_over_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "pos.yaml").write_text("event: Mine")
    assert ready("pos", tmp_path) == {"event": "Mine"}
    assert ready("push", tmp_path)["channel"] == "push"


def test_a_source_says_only_what_differs_from_a_ready_mapping(tmp_path: Path) -> None:
    own = written(
        {"use": "stripe", "signature": {"secret_env": "MINE"}, "ids": {"card": "x"}, "channel": "app"}, tmp_path
    )
    stripe = ready("stripe", tmp_path)
    assert own["signature"] == {"scheme": "stripe", "secret_env": "MINE"}
    assert own["ids"] == {**stripe["ids"], "card": "x"}
    assert (own["channel"], own["events"]) == ("app", stripe["events"])
    assert written({"use": "stripe", "signature": None}, tmp_path)["signature"] is None


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ("nothing", "there is no mapping 'nothing'; there are affiliate, aftership"),
        ("../sources", "there is no mapping '../sources'"),
        ("stripe", "signature: the environment has no STRIPE_WEBHOOK_SECRET"),
        ({"use": "twilio", "signature": {"secret": "s"}}, "say it, with https://, as `url`"),
        ({**PLAIN, "signature": {"scheme": "github", "secret": "s", "x": 1}}, "signature.x: Extra inputs"),
        ({**PLAIN, "signature": {"scheme": "github", "secret": 5}}, "secret and secret_env are texts"),
        ({**PLAIN, "signature": "github"}, "signature: {scheme: …, secret_env: …} is wanted"),
        ({**PLAIN, "evnt": "x"}, "evnt is no key of a mapping"),
        ({**PLAIN, "time": "a..b"}, "time: 'a..b' is no JMESPath"),
        ({**PLAIN, "time": "ago(a)"}, "time: 'ago(a)': there is no function ago; there are abs"),
        ({**PLAIN, "time": "lower(a, b)"}, "lower takes 1 arguments, not 2"),
        ({**PLAIN, "time": "[&a]"}, "& is only for functions such as sort_by"),
        ({**PLAIN, "type": "pay"}, "'pay' is no type; types are alias"),
        ({**PLAIN, "type": ["a"]}, "['a'] is no type"),
        ({**PLAIN, "channel": "fax"}, "'fax' is no channel; channels are web"),
        ({**PLAIN, "event": {"of": "x", "is": {}}}, "a value is {of: expression"),
        ({"ids": {}}, "a track needs an event"),
        ({**PLAIN, "ids": "@"}, "ids names an expression for each kind"),
        ({**PLAIN, "ids": {"mail": "m"}}, "ids: no kind mail; kinds are user_id"),
        ({**PLAIN, "events": {"a": 1}}, "events: a list of alternatives is wanted"),
        ({**PLAIN, "events": [{"each": "x"}]}, "each is no key of a mapping"),
        ({**PLAIN, "events": []}, "rules"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_hook_is_said_in_a_sentence(hook: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="the hook of source s: ") as error:
        dialect(source(hook))
    assert sentence in str(error.value)


def test_a_file_that_is_no_mapping_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    for text, sentence in (("{", "not YAML"), ("- a", "is no mapping")):
        (tmp_path / "hooks" / "mine.yaml").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            dialect(source("mine"), tmp_path)


def test_pages_send_no_webhooks() -> None:
    with pytest.raises(ValueError, match="kind: server"):
        dialect(source(PLAIN, kind="browser"))


KEYS = [*Rule.model_fields, *Mapping.model_fields, "events", "signature", "of", "as", "else", "user_id"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "a..b", "f(a)", "&a", "[a]", "stripe", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(hook=st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=5), body=ANYTHING)
def test_any_mapping_is_right_or_a_sentence(hook: dict[str, Any], body: Any) -> None:
    try:
        parse = dialect(source({**PLAIN, **hook})).parse
    except ValueError:
        return
    with contextlib.suppress(Refusal):
        assert len(decide_parsed(parse(asked(body, {"x-write-key": "key"})))) <= 2


def test_a_hook_without_signature_and_key_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without a signature it needs write_keys"):
        dialect(source(PLAIN, write_keys=[]))
    with pytest.raises(ValueError, match="write_keys: a source needs at least one"):
        Source(name="s", kind="server")


def test_rejections_of_a_mapping_are_reasons() -> None:
    [wrong] = decide_parsed(read({"when": "no"}, {}))
    assert isinstance(wrong, Rejection)
    assert (wrong.reason, wrong.id) == ("unmapped", read({"when": "no"}, {}).items[0].message_id)  # type: ignore[union-attr]


PAGE = Path(__file__).parents[3] / "docs" / "clients" / "webhooks.md"


def test_the_page_names_every_ready_mapping_and_scheme_and_its_examples_are_right() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in [*(path.stem for path in SHIPPED.glob("*.yaml")), *SCHEMES]:
        assert f"| `{name}` |" in text
    examples = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    named = [one.removeprefix("# deploy/config/sources.yaml\nsources:\n").replace("[...]", "[k]") for one in examples]
    listed = [one for text in named if "kind: server" in text for one in yaml.safe_load(text)]
    environment = dict.fromkeys(("STRIPE_WEBHOOK_SECRET", "TWILIO_AUTH_TOKEN", "SECOND_SHOP_SECRET"), "secret")
    sources = [Source.model_validate({**one, "write_keys": one.get("write_keys", [])}) for one in listed]
    assert {one.name for one in sources} == {"billing", "tills", "calls", "second-shop", "letters", "bookings"}
    assert len(load_hooks(sources, Path("none"), IdentityRules(), environment, lambda: NOW)) == len(sources)
    signed = [yaml.safe_load(one)["signature"] for one in named if one.startswith("signature:")]
    assert [signature_of({**one, "secret": "s"}, {}).scheme for one in signed] == ["stripe", "hmac"]


def test_the_pages_own_mapping_makes_these_touchpoints() -> None:
    [text] = [one for one in PAGE.read_text(encoding="utf-8").split("```") if "Booking Made" in one]
    [bookings] = yaml.safe_load(text.removeprefix("yaml\n").replace("[...]", "[k]"))
    body = {
        "hotel": "Tea House",
        "bookings": [
            {"booking": {"number": "B1", "changed_at": 1763892000}, "state": "new", "via": "tel", "nights": ["1", "2"],
             "total": "240.00", "guest": {"id": "u1"}},
            {"booking": {"number": "B2"}, "guest": {"id": "u1", "name": "Jo", "tier": "gold"}},
            {"booking": {"number": "B3"}, "state": "draft", "guest": {"id": "u1"}},
            {"booking": {"number": "B4"}, "state": "lost", "guest": {"id": "u1"}},
        ],
    }  # fmt: skip
    made, identified, lost = decide_parsed(parsed(mapping_of(bookings["hook"]), asked(body), "s"))
    assert isinstance(made, Accepted)
    assert isinstance(identified, Accepted)
    assert (made.touchpoint.event, made.touchpoint.channel, made.touchpoint.id) == ("Booking Made", "phone", "B1")
    assert made.touchpoint.properties == {"nights": 2, "revenue": 240.0, "hotel": "Tea House"}
    assert (identified.touchpoint.type, identified.touchpoint.traits) == ("identify", {"name": "Jo", "tier": "gold"})
    assert isinstance(lost, Rejection)
