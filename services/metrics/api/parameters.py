"""Query parameters: what there is, read strictly; whatever is unknown is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, get_args

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from services.metrics.analysis.instants import read_instant
from services.metrics.analysis.windows import Interval
from shared.tables import STATUSES
from shared.touchpoint import ACQUISITIONS, CHANNELS


def _one_of(allowed: Sequence[str]) -> Callable[[Any], Any]:
    """A validator that names what is allowed."""

    def check(value: Any) -> Any:
        if value not in allowed:
            listed = ", ".join(one or "(empty)" for one in allowed)
            raise PydanticCustomError(
                "not_allowed", "{value} is not allowed; allowed are {listed}",
                {"value": repr(value), "listed": listed, "allowed": list(allowed)},
            )  # fmt: skip
        return value

    return check


def _enum(allowed: Sequence[str]) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(_one_of(allowed)), WithJsonSchema({"type": "string", "enum": list(allowed)})


_WITHOUT_ACQUISITION: Final = ("", *ACQUISITIONS)
Channel = Annotated[str, *_enum(CHANNELS)]
Acquisition = Annotated[str, *_enum(_WITHOUT_ACQUISITION)]
Status = Annotated[str, *_enum(STATUSES)]
IntervalName = Annotated[Interval, *_enum(get_args(Interval))]

Instant = Annotated[
    int, BeforeValidator(read_instant), WithJsonSchema({"type": "string", "examples": ["2026-11-23T10:00:00Z"]})
]
_Name = Annotated[str, Field(max_length=200)]
MOST_ROWS: Final = 1000


class Parameters(BaseModel):
    """Query parameters by name; others are refused with the names that there are."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        names = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise PydanticCustomError(
                "parameter_unknown",
                "unknown parameter {unknown}; known are {known}",
                {"unknown": ", ".join(unknown), "known": ", ".join(names), "allowed": names},
            )
        return given


class Cuts(Parameters):
    """Which journeys an aggregate is about."""

    from_: Instant | None = Field(
        None, alias="from", description="From this instant on, RFC 3339; widened to a whole hour of the map's zone."
    )
    to: Instant | None = Field(
        None, description="Before this instant, RFC 3339; widened to a whole hour of the map's zone."
    )
    version: int | None = Field(None, description="Version of the map; the newest that is live if not given.")
    segment: _Name | None = Field(None, description="A segment of the map: only journeys in it.")
    channel: Channel | None = Field(None, description="Channel of the journey's first touchpoint.")
    acquisition: Acquisition | None = Field(
        None, description="Acquisition of the journey's first touchpoint; empty for those without."
    )
    source: _Name | None = Field(None, description="Source of the journey's first touchpoint.")


class Intervals(Cuts):
    """How a series is cut."""

    interval: IntervalName = Field("day", description="Length of a cohort, in the map's time zone.")


class Pages(Parameters):
    """One page of a list."""

    limit: int = Field(50, ge=1, le=MOST_ROWS, description="Rows of a page, at most.")
    cursor: Annotated[str, Field(max_length=4000)] | None = Field(
        None, description="`next_cursor` of the page before; the first page if not given."
    )


class JourneyFilters(Cuts, Pages):
    """Which journeys are listed."""

    status: Status | None = Field(None, description="Only journeys of this status.")
    stage: _Name | None = Field(None, description="The stage they are in, or were in last.")
    furthest: _Name | None = Field(None, description="Exactly this furthest stage.")
    reached: _Name | None = Field(None, description="At least this furthest stage.")
    entered: _Name | None = Field(None, description="At least one visit in this stage.")
    converted: bool | None = Field(None, description="Whether the goal was reached.")
    stalled: bool | None = Field(None, description="Open and silent for longer than the stage's `stall`.")


class HistoryFilters(Pages):
    """Which of a profile's journeys are listed."""

    map: _Name | None = Field(None, description="Only journeys through this map.")
    version: int | None = Field(None, description="Only journeys through this version; needs `map`.")


class Streamed(Parameters):
    """What a stream tells of."""

    map: _Name | None = Field(None, description="Only this map; all maps if not given.")
    key: str | None = Field(None, description="The read key, for clients that cannot send headers (EventSource).")


CutsQuery = Annotated[Cuts, Query()]
IntervalsQuery = Annotated[Intervals, Query()]
PagesQuery = Annotated[Pages, Query()]
JourneyFiltersQuery = Annotated[JourneyFilters, Query()]
HistoryFiltersQuery = Annotated[HistoryFilters, Query()]
StreamedQuery = Annotated[Streamed, Query()]
