"""Text hygiene: each line of the list of what breaks pipelines, and that no touchpoint spoils its neighbours."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest import hygiene
from services.ingest.accept import Accepted
from services.ingest.dialects.raw import Parsed
from services.ingest.dialects.segment import parse_batch
from services.ingest.errors import Refusal
from services.ingest.reasons import Rejection
from shared.touchpoint import Touchpoint
from tests.support.sent import decide_all, decide_parsed, sent

GOOD = (
    b'{"type":"track","event":"Good","messageId":"good","userId":"u2",'
    rb'"properties":{"n":1.50,"t":"\u00e9\ud83d\ude00"}}'
)


def among_good(item: bytes) -> list[Accepted | Rejection]:
    """The decision on an item between two good neighbours, which are unharmed."""
    before, *middle, after = decide_all(b'{"batch":[' + GOOD + b"," + item + b"," + GOOD + b"]}")
    [alone] = decide_all(b'{"batch":[' + GOOD + b"]}")
    assert isinstance(alone, Accepted)
    for neighbour in (before, after):
        assert isinstance(neighbour, Accepted)
        assert neighbour.value == alone.value
    return middle


def value_of(text: bytes) -> Any:
    """What becomes of a property whose JSON is this."""
    item = b'{"type":"track","event":"e","messageId":"m","userId":"u1","properties":{"p":' + text + b"}}"
    [decision] = among_good(item)
    assert isinstance(decision, Accepted), decision
    return msgspec.json.decode(decision.value, type=Touchpoint).properties["p"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (rb'"a\u0000b"', "ab"),
        (b'"a\0b"', "ab"),
        (rb'"a\\u0000b"', "a\\u0000b"),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\udc00x\ud83d\ude00"', "\ufffdx\U0001f600"),
        (b'"\xff\xe2\x82"', "\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b"NaN", None),
        (b"Infinity", None),
        (b"[-Infinity]", [None]),
        (b"1e400", None),
        (b"1e131071", None),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551616", float(2**64)),
        (b"1180591620717411303424", float(2**70)),
        (b"1" * 300, float("1" * 300)),
        (b"1" * 5000, None),
        (rb'{"k\u0000":{"\ud800":1}}', {"k": {"\ufffd": 1}}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"\xc3\xa9\xf0\x9f\x98\x80"', "é😀"),
        (b"[[[[[[[[[[[[1]]]]]]]]]]]]", [[[[[[[[[[[[1]]]]]]]]]]]]),
        (b'"\t tab"', "\t tab"),
    ],
)
def test_what_breaks_postgres_is_stopped_and_neighbours_live(text: bytes, kept: Any) -> None:
    assert value_of(text) == kept


@pytest.mark.parametrize("deep", [b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 200_000 + b"1" + b"}" * 200_000])
@pytest.mark.parametrize("place", [b"properties", b"context", b"userId", b"timestamp"])
def test_depth_of_200_000_rejects_one_touchpoint(deep: bytes, place: bytes) -> None:
    [decision] = among_good(b'{"type":"track","event":"e","userId":"u1","' + place + b'":' + deep + b"}")
    assert isinstance(decision, Rejection)
    assert decision.reason in ("too_deep", "identifier_invalid")


def test_an_element_that_is_only_depth_is_no_object() -> None:
    [decision] = among_good(b"[" * 100_000 + b"]" * 100_000)
    assert isinstance(decision, Rejection)
    assert decision.reason == "not_an_object"


def test_brackets_in_strings_are_no_depth() -> None:
    assert value_of(b'"' + b"[{" * 5000 + b'"') == "[{" * 5000
    assert value_of(b'"\\"' + b"[" * 100 + b'"') == '"' + "[" * 100


@pytest.mark.parametrize("body", [b"", b"[", b"{", b"nul", b'{"batch":[}', b"{}x", b"\xff\xfe{\0}\0", b"[" * 200_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_batch(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null", b"{}", b'{"batch":{}}', b'{"batch":null}', b"NaN"])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_batch(body)
    assert refused.value.code in ("body_not_an_object", "batch_missing")


def test_an_envelope_too_deep_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        parse_batch(b'{"batch":[],"context":' + b"[" * 50 + b"]" * 50 + b"}")
    assert refused.value.code == "body_too_deep"


def test_an_identifier_is_rejected_for_what_a_text_is_cleaned_of() -> None:
    for bad in (rb'"a\u0000"', rb'"\ud800"', b'"\xff"', b"1e400", b"NaN", b"1" * 100):
        [decision] = among_good(b'{"type":"track","event":"e","userId":' + bad + b"}")
        assert isinstance(decision, Rejection), bad
        assert decision.reason == "identifier_invalid"


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
FREE = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
CLEAN = st.builds(
    lambda properties, context, ascii_only: json.dumps(
        sent(properties=properties, context=context), ensure_ascii=ascii_only
    ).encode(),
    FREE,
    FREE,
    st.booleans(),
)
UNCLEAN = st.sampled_from(
    [rb'{"type":"track","x":"\u0000"}', b'{"x":NaN}', b"17", b'{"x":"\xff"}', rb'{"x":"\ud800"}',
     b'{"properties":{"x":1e999}}',
     b'{"properties":{"x":' + b"1" * 30 + b"}}", b'{"properties":' + b"[" * 2000 + b"]" * 2000 + b"}"]
)  # fmt: skip


@given(st.lists(CLEAN, min_size=1, max_size=4), UNCLEAN, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_the_careful_path_gives_the_bytes_of_the_fast_one(clean: list[bytes], unclean: bytes, place: int) -> None:
    fast = decide_all(b'{"batch":[' + b",".join(clean) + b"]}")
    place = min(place, len(clean))
    careful = decide_all(b'{"batch":[' + b",".join([*clean[:place], unclean, *clean[place:]]) + b"]}")
    del careful[place]
    assert [value(one) for one in careful] == [value(one) for one in fast]


def value(decision: Accepted | Rejection) -> object:
    return decision.value if isinstance(decision, Accepted) else decision.reason


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["type", "event", "name", "messageId", "userId", "anonymousId", "previousId", "groupId", "timestamp", "sentAt",
     "originalTimestamp", "properties", "traits", "context"]
)  # fmt: skip


@given(st.lists(ANY_JSON | st.dictionaries(FIELDS, ANY_JSON, max_size=6), max_size=3), ANY_JSON)
@settings(max_examples=60, deadline=None)
def test_whatever_json_comes_good_neighbours_live_and_all_is_decided(items: list[Any], context: Any) -> None:
    envelope = json.dumps({"batch": items, "sentAt": context}).encode()
    body = envelope.replace(b'{"batch": [', b'{"batch": [' + GOOD + (b"," if items else b""), 1)
    good, *others = decide_parsed(parse_batch(body))
    assert isinstance(good, Accepted)
    assert len(others) == len(items)


@given(st.binary())
@settings(deadline=None)
def test_whatever_bytes_come_they_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Refusal):
        assert isinstance(parse_batch(body), Parsed)


@given(st.lists(CLEAN | UNCLEAN, max_size=3), st.sampled_from([b",", b" ,\n"]))
@settings(max_examples=30, deadline=None)
def test_the_original_of_each_touchpoint_is_found(items: list[bytes], comma: bytes) -> None:
    body = b'{"x":[[1,2]],"batch": [' + comma.join(items) + b' ],"y":{"batch":[0]}}'
    assert hygiene.members(body, "batch") == items
