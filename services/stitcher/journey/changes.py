"""What became of a journey, told to others: the records of journeys.changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.stitcher.journey.facts import Counted
from services.stitcher.journey.fold import Journey, shared_visits
from services.stitcher.journey.rules import MILLION, Plan
from shared.tables import OPEN, STATUSES
from shared.touchpoint import moment

_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


Change = tuple[str, int | None, str | None, int | None]  # what, when, the touchpoint that caused it, stage position


def changes(before: Counted | None, after: Counted | None) -> list[Change]:
    """One entry per change, in order: opened, entered, converted, completed, lost while the journey just goes on;
    one restated where what was told before no longer holds."""
    if after is None:
        return [("restated", None, None, None)]
    journey, state = after
    if before is not None and not _goes_on(before, after):
        return [("restated", journey.last_at, None, journey.stage)]
    found: list[Change] = []
    known = len(before[0].visits) if before else 0
    for number in range(known, len(journey.visits)):
        visit = journey.visits[number]
        found.append(("entered" if number or journey.first else "opened", visit.entered_at, visit.cause, visit.stage))
    if journey.converted_at is not None and (before is None or before[0].converted_at is None):
        cause = next(visit.goal_cause for visit in journey.visits if visit.goal_at is not None)
        found.append(("converted", journey.converted_at, cause, journey.stage))
    if state.status != OPEN and (before is None or before[1].status == OPEN):
        found.append((STATUSES[state.status], state.closed_at, None, journey.stage))
    return found


def moved(journey: Journey) -> list[Change]:
    """What is told of a journey to whom it was not the customer's before."""
    return [("restated", journey.last_at, None, journey.stage)]


def _goes_on(before: Counted, after: Counted) -> bool:
    """Whether all that was told of a journey still holds."""
    (old, was), (new, now) = before, after
    if was.status != OPEN and (was.status, was.closed_at) != (now.status, now.closed_at):
        return False
    if old.converted_at is not None and old.converted_at != new.converted_at:
        return False
    if len(new.visits) < len(old.visits) or (new.value < old.value and new.converted_at == old.converted_at):
        return False
    same = shared_visits(old, new)
    told = zip(old.visits[same:], new.visits[same:], strict=False)
    return all((a.stage, a.entered_at, a.cause) == (b.stage, b.entered_at, b.cause) for a, b in told)


class _Standing(msgspec.Struct, gc=False):
    """Where a journey is after a change."""

    stage: str
    furthest: str
    status: str
    started_at: datetime
    last_at: datetime
    deadline: datetime | None
    closed_at: datetime | None
    converted_at: datetime | None
    value: float


class _Record(msgspec.Struct, gc=False):
    """One change."""

    change: str
    profile_id: str
    sequence: int
    map: str
    version: int
    journey_id: str
    at: datetime | None
    stage: str | None
    touchpoint_id: str | None
    journey: msgspec.Raw


def records(
    told: Sequence[Change], plan: Plan, profile_id: UUID, sequence: int, journey_id: UUID, after: Counted | None
) -> list[bytes]:
    """The changes' JSON, numbered from ``sequence`` + 1 on; instants RFC 3339, value as the map counts it; `journey`
    is null when it is no longer the profile's."""
    names = plan.stage_names
    profile, journey, standing = str(profile_id), str(journey_id), _standing(names, after)
    return [
        _encode(
            _Record(
                what, profile, number, plan.name, plan.version, journey, _at(at), _name(names, stage), cause, standing
            )
        )
        for number, (what, at, cause, stage) in enumerate(told, sequence + 1)
    ]


def _name(names: Sequence[str], stage: int | None) -> str | None:
    return None if stage is None else names[stage]


def _standing(names: Sequence[str], after: Counted | None) -> msgspec.Raw:
    if after is None:
        return _NULL
    journey, state = after
    standing = _Standing(
        names[journey.stage], names[journey.furthest], STATUSES[state.status], moment(journey.started_at),
        moment(journey.last_at), _at(journey.deadline), _at(state.closed_at), _at(journey.converted_at),
        journey.value / MILLION,
    )  # fmt: skip
    return msgspec.Raw(_encode(standing))


def _at(us: int | None) -> datetime | None:
    return None if us is None else moment(us)
