"""Ranges of time: widened to whole hours, covered by days and hours, cut into the buckets of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from shared.tables import DAY_TIER, HOUR_TIER, MINUTE_TIER, SECOND_TIER
from shared.touchpoint import HOUR, MINUTE, SECOND, moment
from shared.zones import day_start, hour_start, midnight, next_day, next_hour

Interval = Literal["hour", "day", "week", "month"]

EVER: Final = -(2**62)
FOREVER: Final = 2**62


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open range of instants in microseconds; None is no bound."""

    since: int | None = None
    until: int | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """Both bounds as numbers that compare with every instant."""
        return EVER if self.since is None else self.since, FOREVER if self.until is None else self.until


@dataclass(frozen=True, slots=True)
class Span:
    """Rollup rows of one tier with ``since`` <= at < ``until``."""

    tier: int
    since: int
    until: int


def widen(since: int | None, until: int | None, zone: ZoneInfo) -> Window:
    """The smallest range of whole hours of the zone that holds the given one."""
    return Window(
        None if since is None else hour_start(since, zone),
        None if until is None else next_hour(until, zone),
    )


def cover(window: Window, zone: ZoneInfo) -> tuple[Span, ...]:
    """The fewest rows that add up to the window: days where whole days fit, hours at the edges."""
    first = EVER if window.since is None else next_day(window.since, zone)
    last = FOREVER if window.until is None else day_start(window.until, zone)
    since, until = window.bounds
    if first > last:
        return _filled(Span(HOUR_TIER, since, until))
    return _filled(Span(HOUR_TIER, since, first), Span(DAY_TIER, first, last), Span(HOUR_TIER, last, until))


def hours(window: Window) -> tuple[Span, ...]:
    """The window by hours alone."""
    return _filled(Span(HOUR_TIER, *window.bounds))


def last_minute(now: int) -> tuple[Span, ...]:
    """All that happened in the last minute, by seconds."""
    second = now - now % SECOND
    return (Span(SECOND_TIER, second - MINUTE, second + SECOND),)


def last_hours(now: int, count: int, zone: ZoneInfo) -> tuple[Span, ...]:
    """All that happened in the last ``count`` hours: whole hours where they fit, minutes at the edges."""
    minute = now - now % MINUTE
    since, until = minute - count * HOUR, minute + MINUTE
    first, last = next_hour(since, zone), hour_start(until, zone)
    if first > last:
        return (Span(MINUTE_TIER, since, until),)
    return _filled(Span(MINUTE_TIER, since, first), Span(HOUR_TIER, first, last), Span(MINUTE_TIER, last, until))


def _filled(*spans: Span) -> tuple[Span, ...]:
    return tuple(span for span in spans if span.since < span.until)


def bucket_start(at: int, interval: Interval, zone: ZoneInfo) -> int:
    """The instant at which the zone's hour, day, week (from Monday) or month that holds ``at`` begins."""
    if interval == "hour":
        return hour_start(at, zone)
    if interval == "day":
        return day_start(at, zone)
    local = moment(day_start(at, zone)).astimezone(zone)
    return midnight(_FIRST_DAY[interval](local), zone)


def buckets(first: int, last: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """The starts of all buckets from the one that holds ``first`` to the one that holds ``last``, without a gap."""
    start = bucket_start(first, interval, zone)
    while start <= last:
        yield start
        start = _after(start, interval, zone)


def _after(start: int, interval: Interval, zone: ZoneInfo) -> int:
    if interval == "hour":
        return next_hour(start + SECOND, zone)
    if interval == "day":
        return next_day(start + SECOND, zone)
    local = moment(start).astimezone(zone)
    return midnight(_FIRST_DAY[interval](local + timedelta(days=_AT_LEAST[interval])), zone)


def _monday(local: datetime) -> datetime:
    return local - timedelta(days=local.weekday())


def _first_of_month(local: datetime) -> datetime:
    return local.replace(day=1)


_FIRST_DAY: Final[dict[str, Callable[[datetime], datetime]]] = {"week": _monday, "month": _first_of_month}
_AT_LEAST: Final = {"week": 7, "month": 31}
LONGEST: Final[dict[Interval, int]] = {"hour": HOUR, "day": 24 * HOUR, "week": 168 * HOUR, "month": 28 * 24 * HOUR}
