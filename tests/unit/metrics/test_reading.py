"""Dates, cursors and identifiers as they come in."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.analysis.cursors import JourneyCursor, LinkCursor, TouchpointCursor, decode, encode
from services.metrics.analysis.instants import FIRST, LAST, read_instant
from shared.identifiers import normalise
from shared.touchpoint import micros

NOON = micros(datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T12:00:00Z", "2026-11-23t12:00:00z", "2026-11-23 12:00:00", "2026-11-23T12:00:00",
        "2026-11-23T13:00:00+01:00", "2026-11-23T13:00:00 01:00", "2026-11-23T06:30:00-05:30",
        "2026-11-23T12:00:00.000Z",
    ],
)  # fmt: skip
def test_the_same_instant_in_many_writings(text: str) -> None:
    assert read_instant(text) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T25:00:00Z", "1700000000", "20261123T120000Z",
     "2026-11-23T12:00:00+99:00", "2026-11-23T12:00:00Z\n", "２０２６-11-23T12:00:00Z"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        read_instant(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"])
def test_before_all_touchpoints_is_as_good_as_the_first(text: str) -> None:
    assert read_instant(text) == FIRST


def test_after_all_touchpoints_is_as_good_as_the_last() -> None:
    assert read_instant("9999-12-31T23:59:59-12:00") == LAST


@given(st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_every_date_is_read_to_the_microsecond(given_date: datetime, minutes: int) -> None:
    zoned = given_date.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert read_instant(zoned.isoformat()) == micros(zoned)


def test_nanoseconds_are_cut_off() -> None:
    assert read_instant("2026-11-23T12:00:00.123456789Z") == NOON + 123456


@given(st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_a_cursor_comes_back_as_it_went(started_at: int, journey_id: UUID) -> None:
    cursor = JourneyCursor(started_at, journey_id)
    assert decode(JourneyCursor, encode(cursor)) == cursor


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(decode(TouchpointCursor, text), TouchpointCursor)


@pytest.mark.parametrize(
    "forged",
    [
        encode(JourneyCursor(1, UUID(int=1))),
        encode(TouchpointCursor(1, "a\x00b", UUID(int=1))),
        encode(TouchpointCursor(2**63, "a", UUID(int=1))),
        encode(LinkCursor(1, "link", UUID(int=1), UUID(int=2))),
        "!!!", "é", "QQ", msgspec.json.encode([1]).decode(),
    ],
)  # fmt: skip
def test_a_forged_cursor_is_refused(forged: str) -> None:
    with pytest.raises(ValueError, match="next_cursor"):
        decode(TouchpointCursor, forged)


@pytest.mark.parametrize(
    ("kind", "given_value", "kept"),
    [
        ("email", "  Ann@Example.COM ", "ann@example.com"), ("phone", " +49 (30) 12-34 ", "+49301234"),
        ("phone", "030/12+34", "0301234"), ("user_id", " U1 ", "U1"), ("user_id", "e\u0301", "\u00e9"),
    ],
)  # fmt: skip
def test_identifiers_are_kept_in_one_writing(kind: str, given_value: str, kept: str) -> None:
    assert normalise(kind, given_value) == kept
