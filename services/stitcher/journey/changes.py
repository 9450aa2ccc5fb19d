"""What became of a journey, told to others: the records of journeys.changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from services.stitcher.journey.facts import State, goes_on
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.rules import MILLION, Plan
from shared.tables import OPEN, STATUSES
from shared.touchpoint import moment

Counted = tuple[Journey, State]
Change = tuple[str, int | None, str | None, int | None]  # what, when, the touchpoint that caused it, stage position


def changes(before: Counted | None, after: Counted | None) -> Iterator[Change]:
    """One entry per change, in order: opened, entered, converted, completed, lost while the journey just goes on;
    one restated where what was told before no longer holds."""
    if after is None:
        yield "restated", None, None, None
        return
    journey, state = after
    if before is not None and not _goes_on(before, after):
        yield "restated", journey.last_at, None, journey.stage
        return
    known = len(before[0].visits) if before else 0
    for number in range(known, len(journey.visits)):
        visit = journey.visits[number]
        yield ("entered" if number else "opened"), visit.entered_at, visit.cause, visit.stage
    if journey.converted_at is not None and (before is None or before[0].converted_at is None):
        cause = next(visit.goal_cause for visit in journey.visits if visit.goal_at is not None)
        yield "converted", journey.converted_at, cause, journey.stage
    if state.status != OPEN and (before is None or before[1].status == OPEN):
        yield STATUSES[state.status], state.closed_at, None, journey.stage


def _goes_on(before: Counted, after: Counted) -> bool:
    """Whether all that was told of a journey still holds."""
    (old, was), (new, now) = before, after
    if was.status != OPEN and (was.status, was.closed_at) != (now.status, now.closed_at):
        return False
    if old.converted_at is not None and old.converted_at != new.converted_at:
        return False
    if len(new.visits) < len(old.visits) or (new.value < old.value and new.converted_at == old.converted_at):
        return False
    if goes_on(old, new):
        return True
    told = zip(old.visits, new.visits, strict=False)
    return all((a.stage, a.entered_at, a.cause) == (b.stage, b.entered_at, b.cause) for a, b in told)


def record(
    change: Change, plan: Plan, profile_id: UUID, sequence: int, journey_id: UUID, after: Counted | None
) -> bytes:
    """The record's JSON; instants RFC 3339, value as the map counts it; ``journey`` null when it is no longer the
    profile's."""
    what, at, cause, stage = change
    names = [s.name for s in plan.definition.stages]
    document: dict[str, Any] = {
        "change": what,
        "profile_id": str(profile_id),
        "sequence": sequence,
        "map": plan.name,
        "version": plan.version,
        "journey_id": str(journey_id),
        "at": _at(at),
        "stage": None if stage is None else names[stage],
        "touchpoint_id": cause,
        "journey": None,
    }
    if after is not None:
        journey, state = after
        document["journey"] = {
            "stage": names[journey.stage],
            "furthest": names[journey.furthest],
            "status": STATUSES[state.status],
            "started_at": _at(journey.started_at),
            "last_at": _at(journey.last_at),
            "deadline": _at(journey.deadline),
            "closed_at": _at(state.closed_at),
            "converted_at": _at(journey.converted_at),
            "value": journey.value / MILLION,
        }
    return msgspec.json.encode(document)


def _at(us: int | None) -> Any:
    return None if us is None else moment(us)
