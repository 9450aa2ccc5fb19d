"""Ranges of time: widening, covering, and the buckets of a series, in zones that change their clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.analysis.windows import (
    Interval,
    Span,
    Window,
    bucket_start,
    buckets,
    cover,
    last_hours,
    last_minute,
    widen,
)
from shared.tables import DAY_TIER, HOUR_TIER, MINUTE_TIER, SECOND_TIER
from shared.touchpoint import HOUR, MINUTE, SECOND, micros, moment
from shared.zones import day_start, hour_start

BERLIN, KOLKATA, SANTIAGO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/Santiago")
zones = st.sampled_from([ZoneInfo("UTC"), BERLIN, KOLKATA, SANTIAGO, ZoneInfo("America/New_York")])
instants = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)).map(lambda one: micros(one.replace(tzinfo=UTC)))


def utc(text: str) -> int:
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_a_range_is_widened_to_hours_of_the_zone() -> None:
    assert widen(utc("2026-11-23 10:10"), utc("2026-11-23 11:10"), KOLKATA) == Window(
        utc("2026-11-23 09:30"), utc("2026-11-23 11:30")
    )


def test_whole_hours_stay_as_they_are() -> None:
    assert widen(utc("2026-11-23 10:00"), utc("2026-11-23 11:00"), BERLIN) == Window(
        utc("2026-11-23 10:00"), utc("2026-11-23 11:00")
    )


def test_no_bounds_are_all_days() -> None:
    [span] = cover(Window(), BERLIN)
    assert span.tier == DAY_TIER
    assert span.since < 0 < utc("2100-01-01") < span.until


def test_days_where_they_fit_and_hours_at_the_edges() -> None:
    window = Window(utc("2026-11-20 22:00"), utc("2026-11-23 01:00"))
    assert cover(window, BERLIN) == (
        Span(HOUR_TIER, utc("2026-11-20 22:00"), utc("2026-11-20 23:00")),
        Span(DAY_TIER, utc("2026-11-20 23:00"), utc("2026-11-22 23:00")),
        Span(HOUR_TIER, utc("2026-11-22 23:00"), utc("2026-11-23 01:00")),
    )


def test_a_range_within_a_day_is_hours_only() -> None:
    window = Window(utc("2026-11-20 10:00"), utc("2026-11-20 12:00"))
    assert cover(window, BERLIN) == (Span(HOUR_TIER, *window.bounds),)


@given(instants, instants, zones)
def test_a_cover_holds_exactly_what_began_in_the_range(one: int, other: int, zone: ZoneInfo) -> None:
    window = widen(min(one, other), max(one, other), zone)
    spans = cover(window, zone)
    since, until = window.bounds
    for us in (since - 1, since, one, other, until - 1, until, (since + until) // 2):
        counted = sum(span.since <= _row(us, span.tier, zone) < span.until for span in spans)
        assert counted == (since <= us < until)


@given(instants, zones)
def test_the_last_day_is_covered_once_to_the_minute(now: int, zone: ZoneInfo) -> None:
    spans = last_hours(now, 24, zone)
    for us in (now, now - 24 * HOUR, now - 13 * HOUR, now - 2 * MINUTE):
        assert sum(span.since <= _row(us, span.tier, zone) < span.until for span in spans) == 1
    assert not any(span.since <= _row(now - 24 * HOUR - MINUTE, span.tier, zone) < span.until for span in spans)


@given(instants)
def test_the_last_minute_is_covered_to_the_second(now: int) -> None:
    [span] = last_minute(now)
    assert span.tier == SECOND_TIER
    assert all(span.since <= us - us % SECOND < span.until for us in (now, now - MINUTE))
    assert now - MINUTE - SECOND < span.since


@pytest.mark.parametrize(
    ("interval", "start"),
    [
        ("hour", "2026-11-25 13:00"),
        ("day", "2026-11-24 23:00"),
        ("week", "2026-11-22 23:00"),
        ("month", "2026-10-31 23:00"),
    ],
)
def test_buckets_begin_where_the_zone_says(interval: Interval, start: str) -> None:
    assert bucket_start(utc("2026-11-25 13:45"), interval, BERLIN) == utc(start)


def test_a_day_of_25_hours_has_25() -> None:
    first, last = utc("2026-10-24 22:00"), utc("2026-10-25 22:59")
    assert len(list(buckets(first, last, "hour", BERLIN))) == 25
    assert list(buckets(first, last, "day", BERLIN)) == [first]


@given(instants, st.integers(0, 400), zones, st.sampled_from(["day", "week", "month"]))
def test_buckets_leave_no_gap(first: int, days: int, zone: ZoneInfo, interval: Interval) -> None:
    last = first + days * 24 * HOUR
    starts = list(buckets(first, last, interval, zone))
    assert starts == sorted(set(starts))
    assert starts == sorted({bucket_start(us, interval, zone) for us in [*range(first, last, 12 * HOUR), last]})
    assert all(moment(start).astimezone(zone).minute == 0 for start in starts)


def _row(us: int, tier: int, zone: ZoneInfo) -> int:
    """Where the rollups keep an instant."""
    if tier == MINUTE_TIER:
        return us - us % MINUTE
    return day_start(us, zone) if tier == DAY_TIER else hour_start(us, zone)
