"""Touchpoints in order -> journeys. A journey is the sum of its visits, so a fold can begin again at any visit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import attrgetter, or_
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.stitcher.journey.rules import Match, Plan
from services.stitcher.journey.touch import Touch
from shared.identifiers import named
from shared.tables import Visit

BLOCK: Final = 8  # visits; blocks that are stored have this size


class Journey(msgspec.Struct, gc=False):
    """One run of one profile through one map version; instants in microseconds, value in millionths.

    ``entered`` has a bit for each stage visited. The first ``sealed`` visits lie in blocks, each written once, so that
    a long journey costs no more to go on with than a short one; ``first`` is the number of visits[0], which is not 0
    where the blocks were not read.
    ``closed_at`` and ``early`` are what touchpoints say; what the clock says is added by `facts.state_of`.
    A journey read back has ``closed_at`` only if it was closed early: what a deadline closed may go on. ``restated``
    and ``counted`` (status, stalled, closed_at as the rollups have them) are carried for the store: they depend on
    arrival and are no part of the fold.
    """

    journey_id: UUID
    map_id: int
    channel: str
    acquisition: str
    source: str
    started_at: int
    last_at: int
    deadline: int | None
    segments: tuple[str, ...]
    visits: list[Visit]
    furthest: int
    entered: int
    touchpoints: int = 0
    converted_at: int | None = None
    value: int = 0
    closed_at: int | None = None
    early: bool = False
    restated: bool = False
    first: int = 0
    sealed: int = 0
    counted: tuple[int, bool, int | None] | None = None

    @property
    def stage(self) -> int:
        """The position of the stage it is in, or was in last."""
        return self.visits[-1].stage

    @property
    def tail(self) -> list[Visit]:
        """The visits that lie in no block; the last one never does, since it may change."""
        return self.visits[self.sealed - self.first :]

    def seal(self) -> list[tuple[int, list[Visit]]]:
        """Makes blocks of the tail's beginning: the number of the first visit, and the visits, of each. As much as a
        block stays, since what is folded again is mostly recent."""
        found = []
        while len(self.tail) >= 2 * BLOCK:
            found.append((self.sealed, self.tail[:BLOCK]))
            self.sealed += BLOCK
        return found

    def copy(self) -> Journey:
        """A journey that can go on without this one changing."""
        last = self.visits[-1]
        return replace(self, visits=[*self.visits[:-1], replace(last, moments=last.moments.copy())])


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a fold begins again: ``journeys`` as they were before ``since``, the last of them not closed yet.

    ``since`` None: fold everything."""

    journeys: list[Journey]
    since: int | None


class Fold:
    """The fold of one profile through one map version, going on from ``journeys``."""

    __slots__ = ("current", "journeys", "plan", "segments")

    def __init__(self, plan: Plan, journeys: Sequence[Journey], segments: tuple[str, ...]) -> None:
        self.plan = plan
        self.journeys = list(journeys)
        self.current = self.journeys[-1] if self.journeys and self.journeys[-1].closed_at is None else None
        self.segments = segments

    def step(self, touch: Touch, match: Match) -> None:
        """Takes the next touchpoint in the map's order."""
        journey, time, stage = self._still_open(touch.time, match), touch.time, match.stage
        if journey is None:
            if stage < 0:
                return
            journey = self._open(touch, match)
        else:
            visit = journey.visits[-1]
            if stage < 0 or stage == visit.stage:
                stage = visit.stage
                visit.last_at = time
                visit.touchpoints += 1
            else:
                journey.visits.append(Visit(stage, time, touch.id, time))
                journey.furthest = max(journey.furthest, stage)
                journey.entered |= 1 << stage
        if match.goal or match.felt is not None or match.moments:
            _tell(journey, touch, match)
        journey.last_at = time
        journey.touchpoints += 1
        journey.segments = self.segments
        journey.deadline = self.plan.deadline(time, stage)

    def _still_open(self, time: int, match: Match) -> Journey | None:
        """The open journey, unless this touchpoint closes it."""
        journey = self.current
        if journey is None:
            return None
        if journey.deadline is not None and time > journey.deadline:
            journey.closed_at = journey.deadline
        elif self.plan.reenters(match.stage, time, journey.converted_at):
            journey.closed_at, journey.early = time, True
        else:
            return journey
        self.current = None
        return None

    def _open(self, touch: Touch, match: Match) -> Journey:
        journey = Journey(
            journey_id=named(f"{self.plan.name}/{self.plan.version}/{touch.key}/{touch.id}"),
            map_id=self.plan.map_id,
            channel=touch.channel,
            acquisition=touch.acquisition or "",
            source=touch.source,
            started_at=touch.time,
            last_at=touch.time,
            deadline=None,
            segments=self.segments,
            visits=[Visit(match.stage, touch.time, touch.id, touch.time)],
            furthest=match.stage,
            entered=1 << match.stage,
        )
        self.journeys.append(journey)
        self.current = journey
        return journey


def stages_in(entered: int) -> list[int]:
    """The positions that bits of `Journey.entered` stand for, rising."""
    return [stage for stage in range(entered.bit_length()) if entered >> stage & 1]


def shared_visits(one: Journey, other: Journey) -> int:
    """How many visits at the beginning are the same objects, as in a journey and what its copy became. (Visits that
    are folded anew are new objects, so none after the first of them is shared.)"""
    known = min(len(one.visits), len(other.visits))
    if known and one.visits[known - 1] is other.visits[known - 1]:
        return known
    return bisect_left(range(known), True, key=lambda n: one.visits[n] is not other.visits[n])


def _tell(journey: Journey, touch: Touch, match: Match) -> None:
    """What a touchpoint says beyond its stage: goal, value, experience, moments."""
    visit = journey.visits[-1]
    if match.goal:
        visit.goals += 1
        if visit.goal_at is None:
            visit.goal_at, visit.goal_cause = touch.time, touch.id
        visit.value += match.value
        journey.value += match.value
        if journey.converted_at is None:
            journey.converted_at = touch.time
    if match.felt is not None:
        visit.felt += match.felt
        visit.felt_n += 1
    for moment in match.moments:
        visit.moments[moment] = visit.moments.get(moment, 0) + 1


def place(matched: tuple[Touch, Match]) -> tuple[int, int, str, str]:
    """Where a touchpoint stands in the map's total order: time, stage position, id, identifier."""
    touch, match = matched
    return touch.time, match.stage, touch.id, touch.key


def resume(plan: Plan, journeys: Sequence[Journey], since: int | None) -> Resumption:
    """The latest point from which a change at ``since`` or later can be folded in.

    That is a visit's beginning before ``since`` with every earlier touchpoint strictly earlier in time: what sorts
    within one instant must be sorted again as a whole.
    """
    if since is None:
        return Resumption([], None)
    for place in range(len(journeys) - 1, -1, -1):
        visits = journeys[place].visits
        for number in range(bisect_left(visits, since, key=_entered_at) - 1, -1, -1):
            entered = visits[number].entered_at
            if entered > _before(journeys, place, number):
                return Resumption(_cut(plan, journeys, place, number), entered)
    return Resumption([], min(since, journeys[0].started_at) if journeys else since)


_entered_at = attrgetter("entered_at")


def _before(journeys: Sequence[Journey], place: int, number: int) -> int:
    """When the last touchpoint before a visit was, as far as journeys know."""
    if number:
        return journeys[place].visits[number - 1].last_at
    return journeys[place - 1].last_at if place else -(2**62)


def _cut(plan: Plan, journeys: Sequence[Journey], place: int, number: int) -> list[Journey]:
    kept = [*journeys[:place], _shortened(journeys[place], number)] if number else list(journeys[:place])
    if kept:
        last = kept[-1].copy()
        last.closed_at, last.early = None, False
        last.deadline = plan.deadline(last.last_at, last.stage)
        kept[-1] = last
    return kept


def _shortened(journey: Journey, number: int) -> Journey:
    """The journey when it had made only its first ``number`` visits; the last of them may change, so it is in no
    block."""
    assert journey.first == 0, "what is cut short has been read whole"
    visits = journey.visits[:number]
    goals = [visit.goal_at for visit in visits if visit.goal_at is not None]
    return replace(
        journey,
        visits=visits,
        last_at=visits[-1].last_at,
        furthest=max(visit.stage for visit in visits),
        entered=reduce(or_, (1 << visit.stage for visit in visits)),
        sealed=min(journey.sealed, (number - 1) // BLOCK * BLOCK),
        touchpoints=sum(visit.touchpoints for visit in visits),
        converted_at=min(goals) if goals else None,
        value=sum(visit.value for visit in visits),
    )
