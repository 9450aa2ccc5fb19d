"""The cohort funnel."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache

from fastapi import APIRouter

from services.metrics.analysis.funnel import funnel, money
from services.metrics.analysis.windows import cover
from services.metrics.api.access import METRICS
from services.metrics.api.answers import FunnelAnswer, JourneyTotals
from services.metrics.api.compose import common
from services.metrics.api.parameters import CutsQuery
from services.metrics.api.room import InRoom
from services.metrics.reader.rollups import Places, cohort_totals
from shared.tables import CohortLayout

router = APIRouter(tags=["aggregates"], dependencies=[METRICS])


@router.get("/v1/maps/{map}/funnel")
async def show_funnel(room: InRoom, map: str, cuts: CutsQuery) -> FunnelAnswer:
    """How many journeys that began in the range reached each stage, went on, and where the others are."""
    question = await room.question(map, cuts)
    definition = question.version.definition
    spans = cover(question.window, definition.zone)
    wanted = _places(len(definition.stages), len(definition.moments))
    sums = await cohort_totals(room.database, question.cut, spans, wanted)
    found = funnel(definition, sums.counts)
    return FunnelAnswer(
        **common(question, sums.known, room.clock()),
        journeys=JourneyTotals(**asdict(found.journeys), value=money(sums.value)),
        stages=found.stages,
        moments=found.moments,
    )


@lru_cache(maxsize=256)
def _places(stages: int, moments: int) -> Places:
    layout = CohortLayout(stages, moments)
    left = [layout.left(stage, state) for stage in range(stages) for state in range(4)]
    by_stage = (layout.entered, layout.touchpoints, layout.felt, layout.felt_n)
    return (
        *left,
        *(place(stage) for place in by_stage for stage in range(stages)),
        *(layout.moment(place) for place in range(moments)),
    )
