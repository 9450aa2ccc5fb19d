"""Plain values -> the fields of answers: instants become dates, positions names, millionths numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.metrics.analysis.funnel import MILLION, money
from services.metrics.api.answers import JourneyAnswer, LivedJourney, VersionAnswer, VisitAnswer
from services.metrics.api.room import Question
from services.metrics.reader.catalogue import MapVersion
from services.metrics.reader.journeys import JourneyRow
from services.metrics.reader.rollups import Known
from shared.journey_map import JourneyMap
from shared.tables import STATUSES, Visit
from shared.touchpoint import SECOND, moment


def date(us: int | None) -> datetime | None:
    """An instant as a date, None as none."""
    return None if us is None else moment(us)


def fresh(as_of: int, now: int) -> dict[str, Any]:
    """The fields of `Fresh`."""
    return {"as_of": moment(as_of), "lag_seconds": max(0, now - as_of) / SECOND}


def common(question: Question, known: Known, now: int) -> dict[str, Any]:
    """The fields of `Aggregate`."""
    return {
        "map": question.version.name,
        "version": question.version.version,
        "from_": date(question.window.since),
        "to": date(question.window.until),
        "restated": known.restated,
        **fresh(known.as_of, now),
    }


def version_answer(version: MapVersion) -> VersionAnswer:
    return VersionAnswer(version=version.version, live=version.live, live_since=moment(version.live_since))


def journey_answer(row: JourneyRow, journey_map: JourneyMap) -> JourneyAnswer:
    """One row of a list."""
    return JourneyAnswer(**_journey(row, journey_map))


def lived_journey(row: JourneyRow, journey_map: JourneyMap) -> LivedJourney:
    """A journey with its visits."""
    ends = [visit.entered_at for visit in row.visits[1:]]
    left = [*map(moment, ends), date(row.closed_at)]
    visits = [_visit(visit, at, journey_map) for visit, at in zip(row.visits, left, strict=True)]
    return LivedJourney(**_journey(row, journey_map), visits=visits)


def _journey(row: JourneyRow, journey_map: JourneyMap) -> dict[str, Any]:
    names = [stage.name for stage in journey_map.stages]
    return {
        "journey_id": row.journey_id,
        "profile_id": row.profile_id,
        "map": journey_map.map,
        "version": journey_map.version,
        "stage": names[row.stage],
        "since": moment(row.visits[-1].entered_at),
        "furthest": names[row.furthest],
        "status": STATUSES[row.status],
        "stalled": row.stalled,
        "converted": row.converted_at is not None,
        "converted_at": date(row.converted_at),
        "value": money(row.value),
        "started_at": moment(row.started_at),
        "last_at": moment(row.last_at),
        "deadline": date(row.deadline),
        "closed_at": date(row.closed_at),
        "closed_early": row.closed_early,
        "channel": row.channel,
        "acquisition": row.acquisition or None,
        "source": row.source,
        "segments": list(row.segments),
        "entered": [names[position] for position in row.entered],
        "touchpoints": row.touchpoints,
        "restated": row.restated,
    }


def _visit(visit: Visit, left_at: datetime | None, journey_map: JourneyMap) -> VisitAnswer:
    return VisitAnswer(
        stage=journey_map.stages[visit.stage].name,
        position=visit.stage,
        entered_at=moment(visit.entered_at),
        left_at=left_at,
        last_at=moment(visit.last_at),
        cause=visit.cause,
        touchpoints=visit.touchpoints,
        goals=visit.goals,
        goal_at=date(visit.goal_at),
        goal_cause=visit.goal_cause or None,
        value=money(visit.value),
        experience=visit.felt / visit.felt_n / MILLION if visit.felt_n else None,
        experience_n=visit.felt_n,
        moments=_moments(visit, [one.name for one in journey_map.moments]),
    )


def _moments(visit: Visit, names: Sequence[str]) -> dict[str, int]:
    return {names[place]: n for place, n in sorted(visit.moments.items())}
