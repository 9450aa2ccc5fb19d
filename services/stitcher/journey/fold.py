"""Touchpoints in order -> journeys. A journey is the sum of its visits, so a fold can begin again at any visit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

import msgspec

from services.stitcher.journey.rules import Match, Plan
from services.stitcher.journey.touch import Touch
from shared.identifiers import named
from shared.tables import Visit


class Journey(msgspec.Struct, gc=False):
    """One run of one profile through one map version; instants in microseconds, value in millionths.

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
    touchpoints: int = 0
    converted_at: int | None = None
    value: int = 0
    closed_at: int | None = None
    early: bool = False
    restated: bool = False
    counted: tuple[int, bool, int | None] | None = None

    @property
    def stage(self) -> int:
        """The position of the stage it is in, or was in last."""
        return self.visits[-1].stage

    def copy(self) -> Journey:
        """A journey that can go on without this one changing."""
        other, last = copy(self), copy(self.visits[-1])
        last.moments = last.moments.copy()
        other.visits = self.visits.copy()
        other.visits[-1] = last
        return other


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
        )
        self.journeys.append(journey)
        self.current = journey
        return journey


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
    """The journey when it had made only its first ``number`` visits."""
    visits = journey.visits[:number]
    goals = [visit.goal_at for visit in visits if visit.goal_at is not None]
    return msgspec.structs.replace(
        journey,
        visits=visits,
        last_at=visits[-1].last_at,
        furthest=max(visit.stage for visit in visits),
        touchpoints=sum(visit.touchpoints for visit in visits),
        converted_at=min(goals) if goals else None,
        value=sum(visit.value for visit in visits),
    )
