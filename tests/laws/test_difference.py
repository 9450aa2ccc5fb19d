"""The difference of two states of a journey, however it is found, is all of the one taken off and all of the other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.stitcher.journey.batch import gather
from services.stitcher.journey.facts import Counted, Rollups, add_difference, state_of
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.profile import fold_on
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.scratch import standing
from services.stitcher.journey.touch import Touch
from tests.support.strategies import History, crowded_histories, histories

NOTHING = standing(Rollups())


def in_order(history: History) -> list[Touch]:
    """All touchpoints of a history as if they were one customer's."""
    touches = gather((record for record in history.records if b'"command"' not in record), history.rules).touches
    return sorted(touches.values(), key=lambda touch: (touch.time, touch.id, touch.key))


def counted(journeys: list[Journey], plan: Plan, clock: int) -> list[Counted]:
    return [(journey, state_of(journey, plan, clock)) for journey in journeys]


def difference(plan: Plan, before: Counted, after: Counted, now: int) -> None:
    """Fails unless the difference is what full removal and addition give, and is noticed only if there is one."""
    moved, whole = Rollups(), Rollups()
    differs = add_difference(moved, plan, before, after, now)
    add_difference(whole, plan, before, None, now)
    add_difference(whole, plan, None, after, now)
    assert standing(moved) == standing(whole)
    assert differs or standing(whole) == NOTHING


@settings(max_examples=200)
@given(histories() | crowded_histories(), st.integers(0, 60), st.integers(0, 60), st.integers(0, 10**13))
def test_of_a_journey_that_goes_on(history: History, cut: int, end: int, later: int) -> None:
    touches = in_order(history)
    first, rest = touches[:cut], touches[cut : cut + end]
    for plan in (Plan(number, m) for number, m in enumerate(history.maps, 1)):
        journeys, traits = fold_on(plan, [], first, {})
        if not journeys:
            continue
        copies = [*journeys[:-1], journeys[-1].copy()]
        after, _ = fold_on(plan, copies, rest, traits)
        for old, new in zip(
            counted(journeys, plan, history.clock - later), counted(after, plan, history.clock), strict=False
        ):
            difference(plan, old, new, history.clock)
            difference(plan, new, old, history.clock)


@settings(max_examples=100)
@given(histories() | crowded_histories(), st.data())
def test_of_a_journey_folded_again_without_some_touchpoints(history: History, data: st.DataObject) -> None:
    touches = in_order(history)
    fewer = [touch for touch in touches if data.draw(st.integers(0, 3))]
    for plan in (Plan(number, m) for number, m in enumerate(history.maps, 1)):
        all_of_them, _ = fold_on(plan, [], touches, {})
        some, _ = fold_on(plan, [], fewer, {})
        by_id = {journey.journey_id: journey for journey in some}
        for new in all_of_them:
            if (old := by_id.get(new.journey_id)) is not None:
                before, after = (old, state_of(old, plan, history.clock)), (new, state_of(new, plan, history.clock))
                difference(plan, before, after, history.clock)
                difference(plan, after, before, history.clock)
