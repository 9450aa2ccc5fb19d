"""Cohorts by hour or day -> a series without gaps: how many began, how many of them converted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from services.metrics.analysis.funnel import rate, totals_of
from services.metrics.analysis.windows import LONGEST, Interval, Window, bucket_start, buckets

MOST_POINTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class CohortRow:
    """The journeys that began at one hour or day, by state; value in millionths."""

    at: int
    states: Sequence[int]
    value: int


@dataclass(frozen=True, slots=True)
class Point:
    """One cohort of the series; ``start`` in microseconds, ``value`` in millionths."""

    start: int
    started: int
    converted: int
    completed: int
    lost: int
    open: int
    rate: float | None
    value: int


class TooManyPoints(ValueError):
    """The series would be too long for one answer."""


def conversion(rows: Iterable[CohortRow], window: Window, interval: Interval, zone: ZoneInfo) -> list[Point]:
    """The series from the first to the last bucket of the window; where it has no bound, of the rows."""
    sums: dict[int, list[int]] = {}
    for row in rows:
        total = sums.setdefault(bucket_start(row.at, interval, zone), [0] * 5)
        for place, n in enumerate((*row.states, row.value)):
            total[place] += n
    edges = _edges(sums, window)
    if edges is None:
        return []
    if (edges[1] - edges[0]) // LONGEST[interval] > MOST_POINTS:
        raise TooManyPoints
    return [_point(start, sums.get(start, [0] * 5)) for start in buckets(*edges, interval, zone)]


def _edges(sums: dict[int, list[int]], window: Window) -> tuple[int, int] | None:
    """The first and the last instant of the series, None if there is none."""
    known = [at for at in (window.since, None if window.until is None else window.until - 1) if at is not None]
    if not sums and len(known) < 2:
        return None
    first = min(sums) if window.since is None else window.since
    last = max(sums) if window.until is None else window.until - 1
    return (first, last) if first <= last else None


def _point(start: int, numbers: Sequence[int]) -> Point:
    *states, value = numbers
    total = totals_of(*states)
    return Point(
        start=start,
        started=total.started,
        converted=total.converted,
        completed=total.completed,
        lost=total.lost,
        open=total.open,
        rate=rate(total.converted, total.started),
        value=value,
    )
