"""Conversion of cohorts over time."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from services.metrics.analysis.conversion import MOST_POINTS, Point, TooManyPoints, conversion
from services.metrics.analysis.funnel import money
from services.metrics.analysis.windows import cover, hours
from services.metrics.api.access import METRICS
from services.metrics.api.answers import ConversionAnswer, SeriesPoint
from services.metrics.api.compose import common
from services.metrics.api.parameters import IntervalsQuery
from services.metrics.api.room import InRoom
from services.metrics.errors import invalid
from services.metrics.reader.rollups import Places, cohort_series
from shared.tables import CohortLayout
from shared.touchpoint import moment

router = APIRouter(tags=["aggregates"], dependencies=[METRICS])


@router.get("/v1/maps/{map}/conversion")
async def show_conversion(room: InRoom, map: str, cuts: IntervalsQuery) -> ConversionAnswer:
    """For each hour, day, week or month in which journeys began: how many, and how many of them converted."""
    question = await room.question(map, cuts)
    definition, window = question.version.definition, question.window
    spans = hours(window) if cuts.interval == "hour" else cover(window, definition.zone)
    known, rows = await cohort_series(room.database, question.cut, spans, _states(len(definition.stages)))
    try:
        series = conversion(rows, window, cuts.interval, definition.zone)
    except TooManyPoints as error:
        message = f"more than {MOST_POINTS} points; ask for a longer interval or a shorter range"
        raise invalid("interval", message) from error
    return ConversionAnswer(
        **common(question, known, room.clock()), interval=cuts.interval, series=[_point(point) for point in series]
    )


@lru_cache(maxsize=256)
def _states(stages: int) -> tuple[Places, ...]:
    """For each state the places that count it, one a stage."""
    layout = CohortLayout(stages, 0)
    return tuple(tuple(layout.left(stage, state) for stage in range(stages)) for state in range(4))


def _point(point: Point) -> SeriesPoint:
    return SeriesPoint(
        start=moment(point.start),
        started=point.started,
        converted=point.converted,
        completed=point.completed,
        lost=point.lost,
        open=point.open,
        rate=point.rate,
        value=money(point.value),
    )
