"""A journey -> its facts; the difference of two states of a journey -> rollup deltas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.stitcher.journey.fold import Journey
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
from shared.zones import day_start, hour_start

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


class Flow(NamedTuple):
    """One transition: when, from where to where, after how long (None: a journey's start)."""

    at: int
    from_stage: int
    to_stage: int
    spent: int | None


@dataclass(slots=True)
class Cohort:
    """The delta of one cell and hour or day."""

    counts: list[int]
    value: int = 0
    restated: int = 0


@dataclass(slots=True)
class Rollups:
    """Deltas of the rollup tables: cohort by (cell, tier, at), flow by (cell, tier, at, from, to, bucket)."""

    cohort: dict[tuple[Cell, int, int], Cohort] = field(default_factory=dict)
    flow: dict[tuple[Cell, int, int, int, int, int], int] = field(default_factory=dict)


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


def flows(journey: Journey, state: State, first: int = 0) -> Iterator[Flow]:
    """The transitions of a journey from its visit number ``first`` on, its start and its end included."""
    visits = journey.visits
    for number in range(first, len(visits)):
        visit = visits[number]
        if number == 0:
            yield Flow(visit.entered_at, START, visit.stage, None)
        else:
            left = visits[number - 1]
            yield Flow(visit.entered_at, left.stage, visit.stage, visit.entered_at - left.entered_at)
    if state.closed_at is not None:
        last = visits[-1]
        to = TO_LOST if state.status == LOST else TO_COMPLETED
        yield Flow(state.closed_at, last.stage, to, state.closed_at - last.entered_at)


def counts(journey: Journey, state: State, layout: CohortLayout) -> dict[int, int]:
    """The journey's contribution to its cohort's counts, by place; only what is not 0."""
    found = _standing(journey, state, layout)
    _add_visits(found, journey.visits, layout, 1)
    found |= {layout.entered(stage): 1 for stage in {visit.stage for visit in journey.visits}}
    return found


def _standing(journey: Journey, state: State, layout: CohortLayout) -> dict[int, int]:
    """Where a journey is and how far it came."""
    if state.status == OPEN:
        kind = layout.OPEN_NEW if journey.converted_at is None else layout.OPEN_CONVERTED
    else:
        kind = layout.CLOSED_LOST if state.status == LOST else layout.CLOSED_COMPLETED
    found = {layout.left(journey.furthest, kind): 1, layout.at(journey.stage, kind): 1}
    if state.stalled:
        found[layout.at(journey.stage, layout.STALLED)] = 1
    return found


def _add_visits(found: dict[int, int], visits: Iterable[Visit], layout: CohortLayout, sign: int) -> None:
    """What visits add up to."""
    for visit in visits:
        place = layout.touchpoints(visit.stage)
        found[place] = found.get(place, 0) + sign * visit.touchpoints
        if visit.felt_n:
            for place, n in ((layout.felt(visit.stage), visit.felt), (layout.felt_n(visit.stage), visit.felt_n)):
                found[place] = found.get(place, 0) + sign * n
        for moment, n in visit.moments.items():
            place = layout.moment(moment)
            found[place] = found.get(place, 0) + sign * n


def add_difference(
    rollups: Rollups, plan: Plan, before: tuple[Journey, State] | None, after: tuple[Journey, State] | None, now: int
) -> bool:
    """Takes off what a journey contributed before and adds what it contributes now. Answers whether anything differs.

    ``restated`` is counted apart, by `add_restated`. What happened long before ``now`` (the worker's clock, in
    microseconds) is left out of the short-lived tiers.
    """
    old = _Contribution(plan, *before) if before else None
    new = _Contribution(plan, *after) if after else None
    if old and new and old.base == new.base:
        return _add_moved(rollups, plan, old, new, now)
    for contribution, sign in ((old, -1), (new, 1)):
        if contribution:
            for segment in contribution.segments:
                _add(rollups, contribution, segment, contribution.counts(), contribution.journey.value, sign)
                _add_flows(rollups, contribution, segment, contribution.flows(0), sign, now)
    return old is not None or new is not None


def add_restated(rollups: Rollups, plan: Plan, journey: Journey, n: int) -> None:
    """Counts a journey as restated (+1), or takes that off (-1)."""
    contribution = _Contribution(plan, journey, state_of(journey, plan, 0))
    for segment in contribution.segments:
        for tier, at in contribution.cohort_at():
            _cohort(rollups, contribution, segment, tier, at).restated += n


class _Contribution:
    """A journey in one state, and where its facts go."""

    __slots__ = ("_cells", "_cohort_at", "_counts", "base", "journey", "plan", "segments", "state")

    def __init__(self, plan: Plan, journey: Journey, state: State) -> None:
        self.plan, self.journey, self.state = plan, journey, state
        self.base = (journey.channel, journey.acquisition, journey.source, journey.started_at)
        self.segments = ("", *journey.segments)
        self._counts: dict[int, int] | None = None
        self._cells: dict[str, Cell] = {}
        self._cohort_at: tuple[tuple[int, int], tuple[int, int]] | None = None

    def counts(self) -> dict[int, int]:
        if self._counts is None:
            self._counts = counts(self.journey, self.state, self.plan.layout)
        return self._counts

    def flows(self, first: int) -> list[Flow]:
        return list(flows(self.journey, self.state, first))

    def cell(self, segment: str) -> Cell:
        cell = self._cells.get(segment)
        if cell is None:
            channel, acquisition, source, _ = self.base
            cell = self._cells[segment] = Cell(self.journey.map_id, segment, channel, acquisition, source)
        return cell

    def cohort_at(self) -> tuple[tuple[int, int], tuple[int, int]]:
        if self._cohort_at is None:
            zone, started = self.plan.zone, self.journey.started_at
            self._cohort_at = (HOUR_TIER, hour_start(started, zone)), (DAY_TIER, day_start(started, zone))
        return self._cohort_at


def _add_moved(rollups: Rollups, plan: Plan, old: _Contribution, new: _Contribution, now: int) -> bool:
    """The same journey in the same cells: only what differs, segment by segment."""
    if goes_on(old.journey, new.journey):
        same = len(old.journey.visits)
        delta = _gained(old, new, same - 1)
    else:
        same = _same_visits(old.journey, new.journey)
        delta = _minus(new.counts(), old.counts())
    value = new.journey.value - old.journey.value
    gone, come = old.flows(same), new.flows(same)
    if gone and come and gone == come:
        gone = come = []
    changed = bool(delta or value or gone or come or old.segments != new.segments)
    if not changed:
        return False
    for segment in new.segments:
        if segment in old.segments:
            _add(rollups, new, segment, delta, value, 1)
            _add_flows(rollups, new, segment, gone, -1, now)
            _add_flows(rollups, new, segment, come, 1, now)
        else:
            _add(rollups, new, segment, new.counts(), new.journey.value, 1)
            _add_flows(rollups, new, segment, new.flows(0), 1, now)
    for segment in old.segments:
        if segment not in new.segments:
            _add(rollups, old, segment, old.counts(), old.journey.value, -1)
            _add_flows(rollups, old, segment, old.flows(0), -1, now)
    return True


def _gained(old: _Contribution, new: _Contribution, last: int) -> dict[int, int]:
    """What a journey that only goes on counts more than before: all but the visit number ``last`` is as it was."""
    layout, visits = old.plan.layout, old.journey.visits
    found = _minus(_standing(new.journey, new.state, layout), _standing(old.journey, old.state, layout))
    _add_visits(found, visits[last:], layout, -1)
    _add_visits(found, new.journey.visits[last:], layout, 1)
    for stage in {visit.stage for visit in new.journey.visits[last + 1 :]}:
        if all(visit.stage != stage for visit in visits):
            found[layout.entered(stage)] = 1
    return {place: n for place, n in found.items() if n}


def goes_on(old: Journey, new: Journey) -> bool:
    """Whether a journey was folded on from a copy: all visits before the last are the same objects, and it goes on."""
    before, after = old.visits, new.visits
    last = len(before) - 1
    if len(after) <= last or (last and before[last - 1] is not after[last - 1]):
        return False
    return before[last].stage == after[last].stage and before[last].entered_at == after[last].entered_at


def _same_visits(old: Journey, new: Journey) -> int:
    """How many visits at the beginning are the same transition in both."""
    same = 0
    for one, other in zip(old.visits, new.visits, strict=False):
        if one is not other and (one.stage != other.stage or one.entered_at != other.entered_at):
            break
        same += 1
    return same


def _minus(new: dict[int, int], old: dict[int, int]) -> dict[int, int]:
    if new == old:
        return {}
    delta = {place: n - old.get(place, 0) for place, n in new.items() if n != old.get(place, 0)}
    return delta | {place: -n for place, n in old.items() if place not in new}


def _add(
    rollups: Rollups, contribution: _Contribution, segment: str, numbers: dict[int, int], value: int, sign: int
) -> None:
    if not numbers and not value:
        return
    for tier, at in contribution.cohort_at():
        cohort = _cohort(rollups, contribution, segment, tier, at)
        row = cohort.counts
        for place, n in numbers.items():
            row[place] += sign * n
        cohort.value += sign * value


def _cohort(rollups: Rollups, contribution: _Contribution, segment: str, tier: int, at: int) -> Cohort:
    name = (contribution.cell(segment), tier, at)
    cohort = rollups.cohort.get(name)
    if cohort is None:
        cohort = rollups.cohort[name] = Cohort([0] * contribution.plan.layout.width)
    return cohort


def _add_flows(
    rollups: Rollups, contribution: _Contribution, segment: str, moves: list[Flow], sign: int, now: int
) -> None:
    if not moves:
        return
    cell, zone, total = contribution.cell(segment), contribution.plan.zone, rollups.flow
    for at, origin, to, spent in moves:
        place = NO_BUCKET if spent is None else bucket(spent)
        targets = [(HOUR_TIER, hour_start(at, zone), place), (DAY_TIER, day_start(at, zone), place)]
        if at > now - MINUTES_KEPT:
            targets.append((MINUTE_TIER, at - at % MINUTE, NO_BUCKET))
        if at > now - SECONDS_KEPT:
            targets.append((SECOND_TIER, at - at % SECOND, NO_BUCKET))
        for tier, start, kept in targets:
            name = (cell, tier, start, origin, to, kept)
            total[name] = total.get(name, 0) + sign
