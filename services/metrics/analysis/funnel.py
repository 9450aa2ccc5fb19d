"""Counts of a cohort -> the funnel: how many reached each stage, went on, and where the others are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from shared.journey_map import JourneyMap
from shared.tables import CohortLayout

Counts = Mapping[int, int]
"""Place in the layout -> sum; a place that was not read counts as 0."""

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Left:
    """Journeys whose furthest stage this is, by status."""

    open: int
    lost: int
    completed: int


@dataclass(frozen=True, slots=True)
class Felt:
    """The mean experience and the number of touchpoints that had one; the mean of nothing is None."""

    mean: float | None
    n: int


@dataclass(frozen=True, slots=True)
class FunnelStage:
    """One stage of the funnel; ``conversion`` is to the next stage, ``from_start`` from the first."""

    stage: str
    position: int
    reached: int
    entered: int
    conversion: float | None
    from_start: float | None
    left: Left
    target: float | None
    touchpoints: int
    experience: Felt


@dataclass(frozen=True, slots=True)
class Totals:
    """The journeys of a cohort."""

    started: int
    open: int
    completed: int
    lost: int
    converted: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """The cohort funnel of a map version."""

    journeys: Totals
    stages: list[FunnelStage]
    moments: dict[str, int]


def rate(part: float, whole: float) -> float | None:
    """Part of whole, None where there is no whole."""
    return part / whole if whole else None


def money(millionths: int) -> float:
    """Millionths as the number that they are; sums beyond all numbers are the largest there is."""
    try:
        return millionths / MILLION
    except OverflowError:
        return sys.float_info.max if millionths > 0 else -sys.float_info.max


def layout_of(journey_map: JourneyMap) -> CohortLayout:
    """Where the counts of a map version stand."""
    return CohortLayout(len(journey_map.stages), len(journey_map.moments))


def funnel(journey_map: JourneyMap, counts: Counts) -> Funnel:
    """The whole funnel; reached(k) - reached(k+1) is exactly the sum of left(k)."""
    layout = layout_of(journey_map)
    left = [_left(layout, counts, position) for position in range(layout.stages)]
    reached = _reached(left)
    return Funnel(
        journeys=totals(layout, counts),
        stages=[_stage(journey_map, counts, left[position], reached, position) for position in range(layout.stages)],
        moments={m.name: counts.get(layout.moment(place), 0) for place, m in enumerate(journey_map.moments)},
    )


def totals(layout: CohortLayout, counts: Counts) -> Totals:
    """All journeys by status; converted are the completed ones and those open ones that have."""

    def over_stages(state: int) -> int:
        return sum(counts.get(layout.left(stage, state), 0) for stage in range(layout.stages))

    states = (layout.OPEN_NEW, layout.OPEN_CONVERTED, layout.CLOSED_COMPLETED, layout.CLOSED_LOST)
    return totals_of(*(over_stages(state) for state in states))


def totals_of(open_new: int, open_converted: int, completed: int, lost: int) -> Totals:
    """The same from the four states."""
    return Totals(
        started=open_new + open_converted + completed + lost,
        open=open_new + open_converted,
        completed=completed,
        lost=lost,
        converted=completed + open_converted,
    )


def felt(layout: CohortLayout, counts: Counts, stage: int) -> Felt:
    """The experience in a stage, in [-1, +1]."""
    n = counts.get(layout.felt_n(stage), 0)
    return Felt(rate(counts.get(layout.felt(stage), 0) / MILLION, n), n)


def _left(layout: CohortLayout, counts: Counts, furthest: int) -> Left:
    new, converted, completed, lost = (counts.get(layout.left(furthest, state), 0) for state in range(4))
    return Left(open=new + converted, lost=lost, completed=completed)


def _reached(left: list[Left]) -> list[int]:
    reached, above = [], 0
    for one in reversed(left):
        above += one.open + one.lost + one.completed
        reached.append(above)
    return reached[::-1]


def _stage(journey_map: JourneyMap, counts: Counts, left: Left, reached: list[int], position: int) -> FunnelStage:
    layout = layout_of(journey_map)
    stage = journey_map.stages[position]
    is_last = position + 1 == layout.stages
    return FunnelStage(
        stage=stage.name,
        position=position,
        reached=reached[position],
        entered=counts.get(layout.entered(position), 0),
        conversion=None if is_last else rate(reached[position + 1], reached[position]),
        from_start=rate(reached[position], reached[0]),
        left=left,
        target=stage.target.conversion if stage.target else None,
        touchpoints=counts.get(layout.touchpoints(position), 0),
        experience=felt(layout, counts, position),
    )
