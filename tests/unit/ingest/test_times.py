"""The client's time: how it is read, corrected and kept within reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.reasons import Rejection
from services.ingest.times import Arrival, offset, read, settle
from tests.support.sent import AT, sent, taken


def arrival(sent_at: object = None, retry: bool = False) -> Arrival:
    return Arrival.of(AT, sent_at, retry)


def before(**ago: float) -> str:
    return (AT - timedelta(**ago)).isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00:00.123Z", datetime(2026, 11, 23, 10, 0, 0, 123000, UTC)),
        ("2026-11-23T10:00:00.123456789Z", datetime(2026, 11, 23, 10, 0, 0, 123456, UTC)),
        ("2026-11-23T12:00:00+02:00", datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        ("2026-11-23T10:00:00", datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        ("2026-11-23 10:00:00+00:00", datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        (" 2026-11-23t10:00:00z ", datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(text: str, expected: datetime) -> None:
    assert read(text) == expected
    assert read(text).utcoffset() == timedelta(0)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_time_is_read_back_to_the_microsecond(moment: datetime) -> None:
    assert read(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        ({"minutes": 4, "seconds": 59.999}, 0),
        ({"minutes": 5}, 5),
        ({"minutes": 5, "seconds": 29}, 5),
        ({"minutes": 5, "seconds": 31}, 6),
        ({"hours": 2, "seconds": 3}, 120),
        ({"minutes": -5}, -5),
        ({"minutes": -7, "seconds": -40}, -8),
    ],
)
def test_the_offset_is_whole_minutes_and_nothing_below_five(ago: dict[str, float], expected: int) -> None:
    assert offset(before(**ago), AT) == timedelta(minutes=expected)


def test_the_transit_delay_of_minutes_moves_nothing() -> None:
    assert settle(before(minutes=10), None, arrival(before(minutes=4))) == (AT - timedelta(minutes=10), ())


def test_a_wrong_clock_is_corrected_and_said() -> None:
    moment, flags = accepted(before(hours=3), None, arrival(before(hours=2, seconds=2)))
    assert (moment, flags) == (AT - timedelta(hours=1), ("time_corrected",))


def test_the_touchpoints_own_sent_at_goes_before_the_envelopes() -> None:
    envelope = arrival(before(hours=2))
    assert accepted(before(hours=3), before(hours=1), envelope)[0] == AT - timedelta(hours=2)
    assert accepted(before(hours=3), before(seconds=1), envelope)[0] == AT - timedelta(hours=3)
    assert accepted(before(hours=3), "rubbish", envelope)[0] == AT - timedelta(hours=1)


def test_a_retry_corrects_nothing() -> None:
    told = before(hours=2)
    assert accepted(before(hours=3), told, arrival(told, retry=True)) == (AT - timedelta(hours=3), ())


def test_history_sent_just_now_stays_where_it_is() -> None:
    assert accepted("2019-05-01T00:00:00Z", None, arrival(before(seconds=1)))[0].year == 2019


@pytest.mark.parametrize(
    ("ahead", "clamped"),
    [(timedelta(minutes=5), False), (timedelta(minutes=5, microseconds=1), True), (timedelta(hours=24), True)],
)
def test_a_future_becomes_the_time_received(ahead: timedelta, clamped: bool) -> None:
    moment, flags = accepted((AT + ahead).isoformat(), None, arrival())
    assert (moment, flags) == ((AT, ("time_clamped",)) if clamped else (AT + ahead, ()))


def test_the_range_counts_after_the_correction() -> None:
    assert (
        accepted((AT + timedelta(hours=30)).isoformat(), None, arrival((AT + timedelta(hours=30)).isoformat()))[0] == AT
    )


def test_the_first_instant_of_2000_is_in_range() -> None:
    assert taken(sent(timestamp="2000-01-01T00:00:00Z")).time == datetime(2000, 1, 1, tzinfo=UTC)


@given(st.one_of(st.text(), st.integers(), st.none(), st.booleans(), st.lists(st.integers())), st.text())
def test_no_time_breaks_anything(given_time: object, sent_at: str) -> None:
    settled = settle(given_time, sent_at, arrival(sent_at))
    assert isinstance(settled, (tuple, Rejection))


def accepted(given_time: object, own: object, came: Arrival) -> tuple[datetime, tuple[str, ...]]:
    settled = settle(given_time, own, came)
    assert isinstance(settled, tuple), settled
    return settled
