"""One profile's touchpoints -> its journeys in a map, and what is known of the customer as they go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import lt
from typing import Any

from services.stitcher.journey.fold import Fold, Journey, place
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import Touch, by_time

Traits = dict[str, tuple[int, str, Any]]  # key -> (time, touchpoint id, value)


def fold_on(
    plan: Plan, journeys: Sequence[Journey], touches: Sequence[Touch], traits: Traits
) -> tuple[list[Journey], Traits]:
    """Folds touchpoints onto journeys; the last of these may go on and is changed in place."""
    segments = plan.segments(plain(traits)) if traits else plan.of_nobody
    fold = Fold(plan, journeys, segments)
    matched = [(touch, plan.match(touch)) for touch in touches]
    if not rising(touches):
        matched.sort(key=place)
    for touch, match in matched:
        if touch.carries_traits:
            traits = with_traits(traits, touch)
            fold.segments = plan.segments(plain(traits))
        fold.step(touch, match)
    return fold.journeys, traits


def rising(touches: Sequence[Touch]) -> bool:
    """Whether each is later than the one before it: then there is only one order."""
    if len(touches) < 2:
        return True
    times = [touch.time for touch in touches]
    return all(map(lt, times, times[1:]))


def with_traits(traits: Traits, touch: Touch) -> Traits:
    """Last writer wins per top-level key, by (time, id)."""
    written = (touch.time, touch.id)
    newer = {k: (*written, v) for k, v in touch.traits.items() if k not in traits or traits[k][:2] <= written}
    return traits | newer


def traits_before(speaking: Iterable[Touch], time: int | None) -> Traits:
    """The traits from all that was said before an instant (None: ever)."""
    traits: Traits = {}
    for touch in sorted(speaking, key=by_time):
        if time is None or touch.time < time:
            traits = with_traits(traits, touch)
    return traits


def plain(traits: Traits) -> dict[str, Any]:
    """Key -> value."""
    return {key: entry[2] for key, entry in traits.items()}
