"""Hours and days of a time zone, by the instant they begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from shared.touchpoint import EPOCH, HOUR, MINUTE, micros

_QUARTER = 15 * MINUTE  # offsets and their changes are whole quarters of an hour since 1972


def hour_start(us: int, zone: ZoneInfo) -> int:
    """The instant at which the zone's hour that holds ``us`` began, both in microseconds since 1970 UTC."""
    quarter = us - us % _QUARTER
    return us - us % _QUARTER - _past_hour(quarter, zone)


def hour_and_day(us: int, zone: ZoneInfo) -> tuple[int, int]:
    """`hour_start` and `day_start` at once."""
    return _hour_and_day(us - us % _QUARTER, zone)


@lru_cache(maxsize=65536)
def _hour_and_day(quarter: int, zone: ZoneInfo) -> tuple[int, int]:
    return hour_start(quarter, zone), day_start(quarter, zone)


@lru_cache(maxsize=65536)
def _past_hour(quarter: int, zone: ZoneInfo) -> int:
    return (EPOCH + timedelta(microseconds=quarter)).astimezone(zone).minute * MINUTE


def day_start(us: int, zone: ZoneInfo) -> int:
    """The instant at which the zone's day that holds ``us`` began."""
    return _day_of(us - us % _QUARTER, zone)


@lru_cache(maxsize=65536)
def _day_of(quarter: int, zone: ZoneInfo) -> int:
    local = (EPOCH + timedelta(microseconds=quarter)).astimezone(zone)
    return midnight(local, zone)


def midnight(local: datetime, zone: ZoneInfo) -> int:
    """The first instant of the date of ``local`` in the zone; where clocks skip midnight, the instant they do."""
    first = datetime(local.year, local.month, local.day, tzinfo=zone)
    start = micros(first.astimezone(UTC))
    if (EPOCH + timedelta(microseconds=start)).astimezone(zone).date() == first.date():
        return start
    return micros(first.replace(fold=1).astimezone(UTC))  # midnight struck twice, the first was yesterday's


def next_hour(us: int, zone: ZoneInfo) -> int:
    """The first instant of an hour of the zone that is not before ``us``."""
    start = hour_start(us, zone)
    return us if start == us else hour_start(start + HOUR, zone)


def next_day(us: int, zone: ZoneInfo) -> int:
    """The first instant of a day of the zone that is not before ``us``."""
    start = day_start(us, zone)
    if start == us:
        return us
    local = (EPOCH + timedelta(microseconds=start)).astimezone(zone)
    return midnight(local + timedelta(days=1), zone)
