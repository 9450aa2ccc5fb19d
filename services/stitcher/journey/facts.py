"""A journey -> its facts; the difference of two states of a journey -> rollup deltas."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from services.stitcher.journey.fold import Journey, shared_visits, stages_in
from services.stitcher.journey.rules import Plan
from shared.tables import (
    BUCKET_GROWTH,
    COMPLETED,
    DAY_TIER,
    HOUR_TIER,
    LOST,
    MINUTE_TIER,
    NO_BUCKET,
    OPEN,
    SECOND_TIER,
    START,
    TO_COMPLETED,
    TO_LOST,
    CohortLayout,
    Visit,
)
from shared.touchpoint import MINUTE, SECOND
from shared.zones import hour_and_day

SECONDS_KEPT: Final = 120 * MINUTE
MINUTES_KEPT: Final = 48 * 60 * MINUTE
_LOG_GROWTH = math.log(BUCKET_GROWTH)


class Cell(NamedTuple):
    """What a count is cut by; segment '' holds every journey."""

    map_id: int
    segment: str
    channel: str
    acquisition: str
    source: str


class State(NamedTuple):
    """A journey as it counts at a clock's instant."""

    status: int  # OPEN, COMPLETED, LOST
    stalled: bool
    closed_at: int | None
    due_at: int | None  # when the clock must look again; None: never


Counted = tuple[Journey, State]


Flow = tuple[int, int, int, int | None]  # when, from which stage, to which, after how long (None: a journey's start)


class Cohort(msgspec.Struct, gc=False):
    """The delta of one cell and hour or day."""

    counts: list[int]
    value: int = 0
    restated: int = 0


class Begun(NamedTuple):
    """Where journeys count that began in one hour: their cell, and the cohorts of that hour and of its day."""

    cell: Cell
    cohorts: tuple[Cohort, Cohort]


FlowKey = tuple[Cell, int, int, int, int, int]


@dataclass(slots=True)
class Rollups:
    """Deltas of the rollup tables: cohort by (cell, tier, at), flow by (cell, tier, at, from, to, bucket)."""

    cohort: dict[tuple[Cell, int, int], Cohort] = field(default_factory=dict)
    flow: defaultdict[FlowKey, int] = field(default_factory=lambda: defaultdict(int))
    _begun: dict[tuple[int, str, str, str, str, int], Begun] = field(default_factory=dict, repr=False, compare=False)

    def begun(self, plan: Plan, journey: Journey) -> list[Begun]:
        """Where a journey counts: among all, and in each of its segments."""
        hour, day = hour_and_day(journey.started_at, plan.zone)
        found = []
        for segment in ("", *journey.segments):
            name = (plan.map_id, segment, journey.channel, journey.acquisition, journey.source, hour)
            begun = self._begun.get(name)
            if begun is None:
                begun = self._begun[name] = self._begin(Cell(*name[:5]), hour, day, plan.layout.width)
            found.append(begun)
        return found

    def _begin(self, cell: Cell, hour: int, day: int, width: int) -> Begun:
        of_hour = self.cohort.setdefault((cell, HOUR_TIER, hour), Cohort([0] * width))
        return Begun(cell, (of_hour, self.cohort.setdefault((cell, DAY_TIER, day), Cohort([0] * width))))


def state_of(journey: Journey, plan: Plan, clock: int) -> State:
    """What a journey counts as at ``clock``: touchpoints close it, and so does time after its deadline."""
    closed_at = journey.closed_at
    if closed_at is None and journey.deadline is not None and journey.deadline < clock:
        closed_at = journey.deadline
    if closed_at is not None:
        return State(LOST if journey.converted_at is None else COMPLETED, False, closed_at, None)
    stall = plan.stalls[journey.stage]
    if stall is not None and journey.last_at + stall < clock:
        return State(OPEN, True, None, journey.deadline)
    stall_at = None if stall is None else journey.last_at + stall
    due = [at for at in (stall_at, journey.deadline) if at is not None]
    return State(OPEN, False, None, min(due) if due else None)


def bucket(spent: int) -> int:
    """The log-scaled bucket of a duration in microseconds: 0 below a second, then each BUCKET_GROWTH wide."""
    return 0 if spent < SECOND else 1 + int(math.log(spent / SECOND) / _LOG_GROWTH)


def flows(journey: Journey, state: State, first: int = 0) -> list[Flow]:
    """The transitions of a journey from its visit ``first`` of those read on, its start and its end included."""
    found: list[Flow] = []
    visits = journey.visits
    assert first or not journey.first, "where a journey starts has been read"
    for number in range(first, len(visits)):
        visit = visits[number]
        if number == 0:
            found.append((visit.entered_at, START, visit.stage, None))
        else:
            left = visits[number - 1]
            found.append((visit.entered_at, left.stage, visit.stage, visit.entered_at - left.entered_at))
    if state.closed_at is not None:
        last = visits[-1]
        to = TO_LOST if state.status == LOST else TO_COMPLETED
        found.append((state.closed_at, last.stage, to, state.closed_at - last.entered_at))
    return found


def counts(journey: Journey, state: State, layout: CohortLayout) -> dict[int, int]:
    """The journey's contribution to its cohort's counts, by place; only what is not 0."""
    assert journey.first == 0, "what is counted as a whole has been read as a whole"
    kind = _kind(journey, state, layout)
    found = {layout.left(journey.furthest, kind): 1, layout.at(journey.stage, kind): 1}
    if state.stalled:
        found[layout.at(journey.stage, layout.STALLED)] = 1
    for visit in journey.visits:
        found[layout.entered(visit.stage)] = 1
        _add_visit(found, visit, layout, 1)
    return found


def _kind(journey: Journey, state: State, layout: CohortLayout) -> int:
    """Of the four states of a journey in the cohort's counts the one it is in."""
    if state.status == OPEN:
        return layout.OPEN_NEW if journey.converted_at is None else layout.OPEN_CONVERTED
    return layout.CLOSED_LOST if state.status == LOST else layout.CLOSED_COMPLETED


def _add_visit(found: dict[int, int], visit: Visit, layout: CohortLayout, sign: int) -> None:
    """What a visit's touchpoints add up to."""
    place = layout.touchpoints(visit.stage)
    found[place] = found.get(place, 0) + sign * visit.touchpoints
    if visit.felt_n:
        for place, n in ((layout.felt(visit.stage), visit.felt), (layout.felt_n(visit.stage), visit.felt_n)):
            found[place] = found.get(place, 0) + sign * n
    for moment, n in visit.moments.items():
        place = layout.moment(moment)
        found[place] = found.get(place, 0) + sign * n


def add_difference(rollups: Rollups, plan: Plan, before: Counted | None, after: Counted | None, now: int) -> bool:
    """Takes off what a journey contributed before and adds what it contributes now. Answers whether anything differs.

    ``restated`` is counted apart, by `add_restated`. What happened long before ``now`` (the worker's clock, in
    microseconds) is left out of the short-lived tiers.
    """
    if before is not None and after is not None and _cells(before[0]) == _cells(after[0]):
        return _add_moved(rollups, plan, before, after, now)
    for counted, sign in ((before, -1), (after, 1)):
        if counted is not None:
            begun = rollups.begun(plan, counted[0])
            _add(begun, counts(*counted, plan.layout), counted[0].value, sign)
            _add_flows(rollups.flow, begun, plan, flows(*counted), sign, now)
    return before is not None or after is not None


def add_restated(rollups: Rollups, plan: Plan, journey: Journey, n: int) -> None:
    """Counts a journey as restated (+1), or takes that off (-1)."""
    for begun in rollups.begun(plan, journey):
        for cohort in begun.cohorts:
            cohort.restated += n


def _cells(journey: Journey) -> tuple[object, ...]:
    """What decides where a journey counts."""
    return journey.started_at, journey.channel, journey.acquisition, journey.source, journey.segments


def _add_moved(rollups: Rollups, plan: Plan, before: Counted, after: Counted, now: int) -> bool:
    """The same journey in the same cells: only what differs."""
    (old, was), (new, state) = before, after
    assert old.first == new.first, "both have been read from the same visit on"
    same = shared_visits(old, new)
    numbers = _gained(before, after, same, plan.layout)
    value = new.value - old.value
    moves = _same_moves(old, new, same)
    gone, come = flows(old, was, moves), flows(new, state, moves)
    if gone == come:
        gone = come = []
    if not (numbers or value or gone or come):
        return False
    begun = rollups.begun(plan, new)
    _add(begun, numbers, value, 1)
    _add_flows(rollups.flow, begun, plan, gone, -1, now)
    _add_flows(rollups.flow, begun, plan, come, 1, now)
    return True


def _gained(before: Counted, after: Counted, same: int, layout: CohortLayout) -> dict[int, int]:
    """What a journey counts more than before, its first visits being the ``same``."""
    found = _stands_elsewhere(before, after, layout)
    for (journey, _), sign in ((before, -1), (after, 1)):
        for visit in journey.visits[same:]:
            _add_visit(found, visit, layout, sign)
    for stage in stages_in(before[0].entered ^ after[0].entered):
        found[layout.entered(stage)] = 1 if after[0].entered >> stage & 1 else -1
    return {place: n for place, n in found.items() if n}


def _same_moves(old: Journey, new: Journey, same: int) -> int:
    """How many visits at the beginning began with the same transition in both: the ``same`` ones, and then some."""
    for one, other in zip(old.visits[same:], new.visits[same:], strict=False):
        if one.stage != other.stage or one.entered_at != other.entered_at:
            break
        same += 1
    return same


def _stands_elsewhere(before: Counted, after: Counted, layout: CohortLayout) -> dict[int, int]:
    """Where a journey no longer is, and where it is now."""
    found: dict[int, int] = {}
    (old, was), (new, state) = before, after
    kinds = _kind(old, was, layout), _kind(new, state, layout)
    if kinds[0] != kinds[1] or old.furthest != new.furthest:
        found[layout.left(old.furthest, kinds[0])] = -1
        found[layout.left(new.furthest, kinds[1])] = 1
    if kinds[0] != kinds[1] or old.stage != new.stage:
        found[layout.at(old.stage, kinds[0])] = -1
        found[layout.at(new.stage, kinds[1])] = 1
    for (journey, counted), sign in ((before, -1), (after, 1)):
        if counted.stalled:
            place = layout.at(journey.stage, layout.STALLED)
            found[place] = found.get(place, 0) + sign
    return found


def _add(begun: list[Begun], numbers: dict[int, int], value: int, sign: int) -> None:
    for _, cohorts in begun:
        for cohort in cohorts:
            row = cohort.counts
            for place, n in numbers.items():
                row[place] += sign * n
            cohort.value += sign * value


def _add_flows(
    total: defaultdict[FlowKey, int], begun: list[Begun], plan: Plan, moves: list[Flow], sign: int, now: int
) -> None:
    for at, origin, to, spent in moves:
        place = NO_BUCKET if spent is None else bucket(spent)
        hour, day = hour_and_day(at, plan.zone)
        for cell, _ in begun:
            total[cell, HOUR_TIER, hour, origin, to, place] += sign
            total[cell, DAY_TIER, day, origin, to, place] += sign
            if at > now - MINUTES_KEPT:
                total[cell, MINUTE_TIER, at - at % MINUTE, origin, to, NO_BUCKET] += sign
            if at > now - SECONDS_KEPT:
                total[cell, SECOND_TIER, at - at % SECOND, origin, to, NO_BUCKET] += sign
