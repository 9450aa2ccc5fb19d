"""What answers look like: the fields of the API, with examples for its documentation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.metrics.analysis.drop_off import DropOff
from services.metrics.analysis.funnel import FunnelStage
from services.metrics.analysis.now import StageNow

_COMMON = {
    "map": "shop",
    "version": 3,
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-11-23T00:00:00Z",
    "as_of": "2026-11-23T10:00:00.123000Z",
    "lag_seconds": 0.4,
    "restated": 0,
}
_FRESH = {"as_of": _COMMON["as_of"], "lag_seconds": 0.4}
_JOURNEY_ID = "7f1e9a36-53a4-5a59-a72b-6b1e9d2f4c10"
_PROFILE_ID = "0c9f0f3e-6f8d-5f64-9d0e-0d8a5b1f7a21"
_JOURNEY = {
    "journey_id": _JOURNEY_ID,
    "profile_id": _PROFILE_ID,
    "map": "shop",
    "version": 3,
    "stage": "purchase",
    "since": "2026-11-20T18:00:00Z",
    "furthest": "purchase",
    "status": "completed",
    "stalled": False,
    "converted": True,
    "converted_at": "2026-11-20T18:04:00Z",
    "value": 79.9,
    "started_at": "2026-11-20T17:40:00Z",
    "last_at": "2026-11-20T18:04:00Z",
    "deadline": "2026-12-04T18:04:00Z",
    "closed_at": "2026-12-04T18:04:00Z",
    "closed_early": False,
    "channel": "web",
    "acquisition": "Paid Search",
    "source": "shop-web",
    "segments": ["vip"],
    "entered": ["awareness", "purchase"],
    "touchpoints": 9,
    "restated": False,
}


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(populate_by_name=True, json_schema_extra={"examples": [fields]})


class Fresh(BaseModel):
    """How fresh an answer is."""

    as_of: datetime = Field(description="Every touchpoint acknowledged before this instant is in this answer.")
    lag_seconds: float = Field(description="Now minus `as_of`.")


class Aggregate(Fresh):
    """What every answer about a map says of itself."""

    model_config = ConfigDict(populate_by_name=True)

    map: str
    version: int
    from_: datetime | None = Field(alias="from", description="As asked, widened to a whole hour; null: all time.")
    to: datetime | None = Field(description="As asked, widened to a whole hour; null: all time.")
    restated: int = Field(description="Journeys of this range whose numbers changed after they were first counted.")


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    model_config = _example(
        type="about:blank",
        title="Not Found",
        status=404,
        detail="no map 'shpo'; there are shop",
        code="map_unknown",
        message="no map 'shpo'; there are shop",
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    errors: list[dict[str, Any]] | None = None


# --- Aggregates ------------------------------------------------------------------------------------------------------


class JourneyTotals(BaseModel):
    """started = open + completed + lost; converted = completed + those open ones that have."""

    started: int
    open: int
    completed: int
    lost: int
    converted: int
    value: float


class FunnelAnswer(Aggregate):
    """The cohort funnel: journeys that began in the range."""

    model_config = _example(
        **_COMMON,
        journeys={"started": 600, "open": 12, "completed": 113, "lost": 475, "converted": 115, "value": 9120.5},
        stages=[
            {
                "stage": "awareness", "position": 0, "reached": 600, "entered": 590, "conversion": 0.91,
                "from_start": 1.0, "left": {"open": 1, "lost": 53, "completed": 0}, "target": 0.5,
                "touchpoints": 1804, "experience": {"mean": 0.2, "n": 31},
            }
        ],
        moments={"first purchase": 113},
    )  # fmt: skip

    journeys: JourneyTotals
    stages: list[FunnelStage]
    moments: dict[str, int] = Field(description="Touchpoints that were a moment of truth, by its name.")


class SeriesPoint(BaseModel):
    """The journeys that began in one hour, day, week or month."""

    start: datetime
    started: int
    converted: int
    completed: int
    lost: int
    open: int
    rate: float | None = Field(description="converted / started")
    value: float


class ConversionAnswer(Aggregate):
    """Conversion of cohorts over time, without gaps."""

    model_config = _example(
        **_COMMON,
        interval="day",
        series=[
            {
                "start": "2026-11-01T00:00:00Z", "started": 40, "converted": 9, "completed": 8, "lost": 30, "open": 2,
                "rate": 0.225, "value": 640.0,
            }
        ],
    )  # fmt: skip

    interval: str
    series: list[SeriesPoint]


class DropOffAnswer(Aggregate):
    """Where journeys are lost."""

    model_config = _example(
        **_COMMON,
        stages=[
            {
                "stage": "awareness", "position": 0, "entered": 590, "lost": 53, "share": 0.0898,
                "interval": [0.0694, 0.1156], "open": 1, "completed": 0, "experience": {"mean": None, "n": 0},
            }
        ],
    )  # fmt: skip

    stages: list[DropOff]


class TransitionAnswer(BaseModel):
    """A journey's start has ``from`` null; its end has ``to`` completed or lost."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str | None = Field(alias="from")
    to: str
    count: int
    median_seconds: float | None = Field(description="Time in the stage before, within 5 %; null for starts.")


class TransitionsAnswer(Aggregate):
    """Transitions that happened in the range."""

    model_config = _example(
        **_COMMON,
        transitions=[
            {"from": None, "to": "awareness", "count": 600, "median_seconds": None},
            {"from": "awareness", "to": "consideration", "count": 81, "median_seconds": 5400.0},
            {"from": "consideration", "to": "lost", "count": 20, "median_seconds": 1209600.0},
        ],
    )

    transitions: list[TransitionAnswer]


class NowAnswer(Aggregate):
    """The map at this moment. ``from`` and ``to`` narrow ``open`` and ``stalled`` to journeys that began then."""

    model_config = _example(
        **_COMMON | {"from": None, "to": None},
        stages=[
            {
                "stage": "awareness", "position": 0, "open": 12, "stalled": 3,
                "entered": {"1m": 1, "1h": 14, "24h": 320}, "left": {"1m": 0, "1h": 11, "24h": 309},
            }
        ],
    )  # fmt: skip

    stages: list[StageNow]


# --- Maps ------------------------------------------------------------------------------------------------------------


class VersionAnswer(BaseModel):
    """A version of a map."""

    version: int
    live: bool
    live_since: datetime


class StageAnswer(BaseModel):
    """A stage with its rules and targets; durations in seconds."""

    name: str
    position: int
    when: list[dict[str, Any]]
    timeout: float | None
    stall: float | None
    goal: str | None
    owner: str | None
    notes: str | None
    target: dict[str, Any] | None


class MapAnswer(BaseModel):
    """A version of a map, and which others there are; durations in seconds."""

    map: str
    version: int
    title: str | None
    live: bool
    live_since: datetime
    timezone: str
    timeout: float | None
    goal: list[dict[str, Any]]
    value: str | None
    stages: list[StageAnswer]
    reentry: dict[str, Any] | None
    segments: dict[str, Any]
    moments: list[dict[str, Any]]
    experience: list[dict[str, Any]]
    versions: list[VersionAnswer]


class MapsAnswer(BaseModel):
    """All maps by name, each in its newest live version."""

    data: list[MapAnswer]
    next_cursor: str | None


# --- Journeys and profiles -------------------------------------------------------------------------------------------


class JourneyAnswer(BaseModel):
    """One journey; ``stage`` is the one it is in, or was in last, ``since`` when it entered it."""

    model_config = _example(**_JOURNEY)

    journey_id: UUID
    profile_id: UUID
    map: str
    version: int
    stage: str
    since: datetime
    furthest: str
    status: str
    stalled: bool
    converted: bool
    converted_at: datetime | None
    value: float
    started_at: datetime
    last_at: datetime
    deadline: datetime | None
    closed_at: datetime | None
    closed_early: bool
    channel: str
    acquisition: str | None
    source: str
    segments: list[str]
    entered: list[str]
    touchpoints: int
    restated: bool


class JourneysAnswer(Aggregate):
    """The journeys behind a count, the latest to begin first."""

    model_config = _example(**_COMMON, data=[_JOURNEY], next_cursor=None)

    data: list[JourneyAnswer]
    next_cursor: str | None


class VisitAnswer(BaseModel):
    """One stay in a stage; ``cause`` is the touchpoint that began it, ``experience`` the mean of those that had one."""

    stage: str
    position: int
    entered_at: datetime
    left_at: datetime | None
    last_at: datetime
    cause: str
    touchpoints: int
    goals: int
    goal_at: datetime | None
    goal_cause: str | None
    value: float
    experience: float | None
    experience_n: int
    moments: dict[str, int]


class LivedJourney(JourneyAnswer):
    """A journey with its visits."""

    visits: list[VisitAnswer]


class HistoryAnswer(Fresh):
    """What a profile has been through, the latest first."""

    data: list[LivedJourney]
    next_cursor: str | None


class IdentifierAnswer(BaseModel):
    """What points at a customer."""

    kind: str
    value: str


class ProfileAnswer(Fresh):
    """A customer, and where he stands on each map; null where he has never been on it."""

    model_config = _example(
        **_FRESH,
        profile_id=_PROFILE_ID,
        identifiers=[{"kind": "user_id", "value": "u1"}, {"kind": "anonymous_id", "value": "a1"}],
        traits={"tier": "gold"},
        segments=["vip"],
        touchpoints=9,
        last_at="2026-11-20T18:04:00Z",
        journeys={"shop": _JOURNEY},
    )

    profile_id: UUID
    identifiers: list[IdentifierAnswer]
    traits: dict[str, Any]
    segments: list[str]
    touchpoints: int
    last_at: datetime
    journeys: dict[str, JourneyAnswer | None]


class HopAnswer(BaseModel):
    """A touchpoint said that ``lower`` belongs to ``higher`` (or, for an alias, that both are one)."""

    kind: str
    lower: str
    higher: str
    time: datetime
    touchpoint_id: str


class TouchpointAnswer(BaseModel):
    """A touchpoint as it lies on the log, the identifier it came with, and why it is this profile's."""

    model_config = ConfigDict(extra="allow")

    id: str
    time: datetime
    received_at: datetime
    event: str | None
    type: str
    channel: str
    acquisition: str | None
    source: str
    ids: dict[str, str]
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]
    identifier: str
    because: list[HopAnswer]


class TouchpointsAnswer(Fresh):
    """A profile's touchpoints, the latest first."""

    data: list[TouchpointAnswer]
    next_cursor: str | None


class EvidenceAnswer(BaseModel):
    """A moment and the touchpoint that says so."""

    time: datetime
    touchpoint_id: str


class LinkAnswer(BaseModel):
    """A link from a lower identifier to a higher one, or an alias of two users; ``shared``: climbing stops at it."""

    kind: str
    lower: str
    higher: str
    earliest: EvidenceAnswer
    latest: EvidenceAnswer
    shared: bool
    revoked: bool
    reason: str | None


class LinksAnswer(Fresh):
    """The evidence that ties a profile's identifiers together, in the order in which it was first seen."""

    data: list[LinkAnswer]
    next_cursor: str | None


# --- Status ----------------------------------------------------------------------------------------------------------


class PartitionAnswer(BaseModel):
    """How far a partition has been read; ``lag`` in records."""

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    lag: int
    as_of: datetime
    owner: str | None
    updated_at: datetime


class MapStatus(BaseModel):
    """Which versions of a map are live."""

    map: str
    versions: list[VersionAnswer]


class StatusAnswer(Fresh):
    """The state of the pipeline."""

    partitions: list[PartitionAnswer]
    lag: int = Field(description="Touchpoints on the log that are not in the tables yet.")
    maps: list[MapStatus]
    rejected: dict[str, int] = Field(description="Touchpoints that ingest refused, by reason.")
    dead_letters: dict[str, int] = Field(description="Records that the stitcher could not take, by reason.")
