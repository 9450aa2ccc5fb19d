"""Exports of other tools: each sample becomes exactly the touchpoints that a person wrote down for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.exports import ga4, mixpanel, segment
from services.ingest.exports.export import Export, Reading, Row
from services.ingest.exports.formats import EXPORTS, recognised
from services.ingest.exports.plain import Mapping, read_mapping
from services.ingest.exports.values import instant, without_repeats
from tests.support.imported import imported
from throughline.importing import Options

SAMPLES = Path(__file__).parents[2] / "data" / "exports"
UTC = ZoneInfo("UTC")
TOOLS = {
    "ga4.jsonl": "ga4", "mixpanel.jsonl": "mixpanel", "amplitude.zip": "amplitude", "posthog.jsonl": "posthog",
    "posthog.csv": "posthog", "segment.jsonl": "segment", "segment_warehouse.jsonl": "segment",
}  # fmt: skip
WITH_ONE_OF_NOBODY = ("ga4.jsonl", "mixpanel.jsonl", "amplitude.zip", "posthog.jsonl", "segment.jsonl")


def sample(name: str) -> list[Any]:
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]


def read(export: Export, row: Row, zone: str = "UTC", *, texts: bool = False) -> list[Any]:
    return export.calls(row, Reading(ZoneInfo(zone), texts))


@pytest.mark.parametrize(("name", "tool"), TOOLS.items())
async def test_a_sample_becomes_exactly_the_touchpoints_that_are_expected(name: str, tool: str) -> None:
    touchpoints, _, _ = await imported(SAMPLES / name)
    assert touchpoints == sample(f"{name}.expected.jsonl")
    assert Options().export_of(SAMPLES / name).name == tool


@pytest.mark.parametrize("name", TOOLS)
async def test_what_nobody_did_is_refused_with_its_file_and_line(name: str) -> None:
    _, letters, tally = await imported(SAMPLES / name)
    expected = {"identifier_missing": 1} if name in WITH_ONE_OF_NOBODY else {}
    assert tally.rejected == expected
    for letter in letters:
        place = letter["message"].rsplit(": ", 1)[0]
        assert place.startswith(f"{name}:") or place.startswith(f"{name}/")


@pytest.mark.parametrize("name", TOOLS)
async def test_ids_are_the_same_in_every_run_and_differ_from_each_other(name: str) -> None:
    ids = [touchpoint["id"] for touchpoint in (await imported(SAMPLES / name))[0]]
    assert ids == [touchpoint["id"] for touchpoint in (await imported(SAMPLES / name))[0]]
    assert len(set(ids)) == len(ids)


async def test_a_list_of_receipts_is_read_with_a_mapping_file() -> None:
    told = read_mapping((SAMPLES / "orders.yaml").read_text())
    options = Options(None, EXPORTS["plain"], told.mapping, told.timezone, told.encoding)
    touchpoints, _, tally = await imported(SAMPLES / "orders.csv", options)
    assert touchpoints == sample("orders.csv.expected.jsonl")
    assert tally.rejected == {"identifier_missing": 1}


@pytest.mark.parametrize(
    ("rows", "tool"),
    [
        ([{"user": "u", "event": "e"}], "plain"),
        ([{"context.ids.phone": "1", "event": "e"}], "plain"),
        ([{"type": "track", "userId": "u", "event": "e"}], "segment"),
        (["garbage", {"event": "e"}, {"anonymous": "a"}], "plain"),
        ([{"event": "e"}, 1, None], None),
        ([], None),
    ],
)
def test_a_file_is_known_by_its_records(rows: list[Any], tool: str | None) -> None:
    found = recognised(rows)
    assert (found and found.name) == tool


def test_most_records_decide() -> None:
    assert recognised([*sample("segment.jsonl"), sample("ga4.jsonl")[0]]) == segment.EXPORT


GA4: Row = {"event_name": "purchase", "event_timestamp": "1704362400000000", "user_pseudo_id": "1.2"}


def test_a_purchases_revenue_is_its_value_where_ecommerce_says_nothing() -> None:
    params = [{"key": "value", "value": {"double_value": 9.5}}]
    assert read(ga4.EXPORT, {**GA4, "event_params": params})[0]["properties"] == {"value": 9.5, "revenue": 9.5}


def test_ga4s_numbers_may_be_texts_or_numbers_and_the_id_is_the_same() -> None:
    texts = {**GA4, "event_bundle_sequence_id": "7", "batch_event_index": "1"}
    numbers = {**GA4, "event_timestamp": 1704362400000000, "event_bundle_sequence_id": 7, "batch_event_index": 1}
    assert read(ga4.EXPORT, texts) == read(ga4.EXPORT, numbers)


def test_the_first_source_of_a_user_is_no_campaign_of_what_he_does_later() -> None:
    source = {"traffic_source": {"source": "google", "medium": "cpc"}}
    assert "campaign" not in read(ga4.EXPORT, {**GA4, **source})[0]["context"]
    assert read(ga4.EXPORT, {**GA4, **source, "event_name": "first_open"})[0]["context"]["campaign"] == {
        "source": "google", "medium": "cpc"
    }  # fmt: skip


def test_a_click_on_an_ad_is_paid_though_no_medium_was_written() -> None:
    row = {**GA4, "collected_traffic_source": {"gclid": "x"}}
    assert read(ga4.EXPORT, row)[0]["context"]["campaign"] == {"source": "google", "medium": "cpc"}


def test_mixpanels_old_projects_write_the_clock_on_their_wall() -> None:
    row = {"event": "e", "properties": {"time": 1704362400, "distinct_id": "u"}}
    assert read(mixpanel.EXPORT, row, "Europe/Berlin")[0]["timestamp"] == "2024-01-04T10:00:00+01:00"


def test_two_mixpanel_events_of_one_insert_id_are_two() -> None:
    ids = [call["messageId"] for row in sample("mixpanel.jsonl") for call in read(mixpanel.EXPORT, row)]
    given = [row["properties"]["$insert_id"] for row in sample("mixpanel.jsonl")]
    assert (len(set(given)), len(set(ids))) == (len(given) - 1, len(given))


def test_mixpanels_merge_is_an_alias() -> None:
    row = {
        "event": "$merge",
        "properties": {"time": 1704362400, "distinct_id": "a", "$distinct_ids": ["$device:a", "b"]},
    }
    (call,) = read(mixpanel.EXPORT, row)
    assert (call["type"], call["previousId"], call["userId"]) == ("alias", "a", "b")


@pytest.mark.parametrize("name", ["mixpanel.jsonl", "amplitude.zip", "segment_warehouse.jsonl", "ga4.jsonl"])
async def test_identifiers_are_only_where_privacy_looks_for_them(name: str) -> None:
    for touchpoint in (await imported(SAMPLES / name))[0]:
        held = json.dumps(touchpoint["properties"]) if "properties" in touchpoint else ""
        assert not [value for value in touchpoint["ids"].values() if f'"{value}"' in held]


def test_a_zip_code_stays_a_text_where_texts_are_told_from_numbers() -> None:
    row = {"id": "1", "received_at": "2024-01-04", "user_id": "u", "event": "e", "zip": "20095"}
    assert read(segment.EXPORT, row)[0]["properties"] == {"zip": "20095"}
    assert read(segment.EXPORT, row, texts=True)[0]["properties"] == {"zip": 20095}


@pytest.mark.parametrize(
    ("value", "zone", "read_as"),
    [
        ("2024-01-04 11:05:00", "Europe/Berlin", "2024-01-04T10:05:00+00:00"),
        ("2024-07-04 11:05", "Europe/Berlin", "2024-07-04T09:05:00+00:00"),
        ("2024-01-04 10:05:00.25 UTC", "Europe/Berlin", "2024-01-04T10:05:00.250000+00:00"),
        ("2024-01-04 10:05:00 +0100", "UTC", "2024-01-04T09:05:00+00:00"),
        ("2024-01-04 10:05:00 Z", "UTC", "2024-01-04T10:05:00+00:00"),
        (1704362400, "UTC", "2024-01-04T10:00:00+00:00"),
        ("1704362400123", "UTC", "2024-01-04T10:00:00.123000+00:00"),
        (1704362400000001, "UTC", "2024-01-04T10:00:00.000001+00:00"),
        (1704362400.5, "UTC", "2024-01-04T10:00:00.500000+00:00"),
        ("yesterday", "UTC", "yesterday"),
        (True, "UTC", True),
        (17, "UTC", 17),
        ("9999-12-31T23:59:59-12:00", "UTC", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_times_as_exports_write_them(value: Any, zone: str, read_as: Any) -> None:
    assert instant(value, ZoneInfo(zone)) == read_as


def test_what_is_known_of_a_customer_is_said_once_until_it_changes() -> None:
    def row(tier: str, n: int) -> list[Any]:
        return [{"type": "identify", "userId": "u", "traits": {"tier": tier}, "messageId": f"t{n}"}, {"messageId": n}]

    calls = without_repeats([row("a", 1), row("a", 2), row("b", 3), row("a", 4)])
    assert [call["messageId"] for row_ in calls for call in row_] == ["t1", 1, 2, "t3", 3, "t4", 4]


def test_what_a_customer_said_himself_is_never_left_out() -> None:
    call = {"type": "identify", "userId": "u", "traits": {"tier": "a"}}
    assert without_repeats([[call], [call]]) == [[call], [call]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("columns: {id: No}", "put it in quotes"),
        ("colums: {}", "colums: Extra inputs are not permitted"),
        ("timezone: Berlin", "'Berlin' is no time zone"),
        ("encoding: utf-80", "'utf-80' is no encoding"),
        ("channel_is: medium", "channel_is: Input should be 'channel' or 'acquisition'"),
        ("a: [", "not YAML"),
        ("- a", "the file: "),
    ],
)
def test_a_wrong_mapping_file_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        read_mapping(text)
    assert sentence in str(wrong.value)


def test_one_column_may_be_several_things_and_a_constant_wins() -> None:
    mapping = Mapping({"user": "mail", "traits.email": "mail"}, {"type": "identify", "channel": "store"})
    (call,) = mapping.calls({"mail": "a@b.example", "type": "?"}, Reading(UTC))
    assert call == {
        "type": "identify", "userId": "a@b.example", "traits": {"email": "a@b.example"}, "context": {"channel": "store"}
    }  # fmt: skip


def test_times_and_numbers_are_read_as_the_mapping_says() -> None:
    mapping = Mapping({"time": "Datum"}, time_format="%d.%m.%Y %H:%M", decimal=",")
    rows = [{"Datum": "04.01.2024 11:05", "sum": "1.234,50", "n": "3"}, {"Datum": "04.01.24", "sum": "1,2,3"}]
    (read_,), (kept,) = (mapping.calls(row, Reading(ZoneInfo("Europe/Berlin"), texts=True)) for row in rows)
    assert (read_["timestamp"], read_["properties"]) == ("2024-01-04T10:05:00+00:00", {"sum": 1234.5, "n": 3})
    assert (kept["timestamp"], kept["properties"]) == ("04.01.24", {"sum": "1,2,3"})


def test_snowflakes_capitals_are_segments_columns() -> None:
    row = {"ID": "1", "RECEIVED_AT": "2024-01-04", "USER_ID": "u", "EVENT_TEXT": "Paid", "REVENUE": 5}
    assert recognised([row]) == segment.EXPORT
    (call,) = read(segment.EXPORT, row)
    assert call == {"messageId": "1", "userId": "u", "type": "track", "event": "Paid", "properties": {"revenue": 5}}


_NAMES = st.sampled_from(
    sorted({name for file in TOOLS if file.endswith(".jsonl") for row in sample(file) for name in row})
)
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["{", '{"a": [1]}', "[1", "1704362400", "2024-01-04 10:00 UTC", "http://[", "$device:", "track"])
)  # fmt: skip
_INNER = st.sampled_from(
    ["key", "value", "string_value", "int_value", "distinct_id", "time", "properties", "$set", "a"]
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_INNER, inner, max_size=4), max_leaves=8
)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(_NAMES | st.text(max_size=5), _VALUES, max_size=8), st.sampled_from(sorted(EXPORTS)), st.booleans()
)
def test_no_record_whatever_raises_in_any_format(row: Row, tool: str, texts: bool) -> None:
    export = EXPORTS[tool]
    calls = read(export, row, texts=texts)
    assert calls == read(export, row, texts=texts) or "nan" in repr(calls)
    assert all(isinstance(call, dict) for call in calls)
    assert len(calls) in (1, 2)
    assert export.holds(row) in (True, False)
    without_repeats([calls, calls])
    json.dumps(calls)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_real_record_raises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(file for file in TOOLS if file.endswith(".jsonl"))))
    row = data.draw(st.sampled_from(sample(name)))
    spoilt = dict(row)
    for key in data.draw(st.lists(st.sampled_from(sorted(row)), max_size=4)):
        spoilt[key] = data.draw(_VALUES)
    assert read(EXPORTS[TOOLS[name]], spoilt)
