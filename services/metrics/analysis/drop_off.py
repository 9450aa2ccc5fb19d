"""Counts of a cohort -> where journeys are lost, each share with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from services.metrics.analysis.funnel import Counts, Felt, felt, layout_of, rate
from shared.journey_map import JourneyMap

Z95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class DropOff:
    """One stage: of the journeys that entered it, those that were lost in it."""

    stage: str
    position: int
    entered: int
    lost: int
    share: float | None
    interval: tuple[float, float] | None
    open: int
    completed: int
    experience: Felt


def wilson(part: int, whole: int) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of a share, within [0, 1]; None of nothing."""
    if not whole:
        return None
    share, z2 = part / whole, Z95 * Z95
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = Z95 * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole)) / (1 + z2 / whole)
    low = 0.0 if part == 0 else max(0.0, middle - half)
    high = 1.0 if part == whole else min(1.0, middle + half)
    return low, high


def drop_off(journey_map: JourneyMap, counts: Counts) -> list[DropOff]:
    """Each stage with the journeys whose last stage it is: lost, open, completed."""
    layout = layout_of(journey_map)

    def standing(position: int, *states: int) -> int:
        return sum(counts.get(layout.at(position, state), 0) for state in states)

    def stage(position: int, name: str) -> DropOff:
        entered, lost = counts.get(layout.entered(position), 0), standing(position, layout.CLOSED_LOST)
        return DropOff(
            stage=name,
            position=position,
            entered=entered,
            lost=lost,
            share=rate(lost, entered),
            interval=wilson(lost, entered),
            open=standing(position, layout.OPEN_NEW, layout.OPEN_CONVERTED),
            completed=standing(position, layout.CLOSED_COMPLETED),
            experience=felt(layout, counts, position),
        )

    return [stage(position, each.name) for position, each in enumerate(journey_map.stages)]
