"""Where journeys are lost."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from services.metrics.analysis.drop_off import drop_off
from services.metrics.analysis.windows import cover
from services.metrics.api.access import METRICS
from services.metrics.api.answers import DropOffAnswer
from services.metrics.api.compose import common
from services.metrics.api.parameters import CutsQuery
from services.metrics.api.room import InRoom
from services.metrics.reader.rollups import Places, cohort_totals
from shared.tables import CohortLayout

router = APIRouter(tags=["aggregates"], dependencies=[METRICS])


@router.get("/v1/maps/{map}/drop-off")
async def show_drop_off(room: InRoom, map: str, cuts: CutsQuery) -> DropOffAnswer:
    """For each stage the journeys that were lost in it, as a share of those that entered it."""
    question = await room.question(map, cuts)
    definition = question.version.definition
    spans = cover(question.window, definition.zone)
    sums = await cohort_totals(room.database, question.cut, spans, _places(len(definition.stages)))
    return DropOffAnswer(**common(question, sums.known, room.clock()), stages=drop_off(definition, sums.counts))


@lru_cache(maxsize=256)
def _places(stages: int) -> Places:
    layout = CohortLayout(stages, 0)
    standing = [layout.at(stage, state) for stage in range(stages) for state in range(4)]
    by_stage = (layout.entered, layout.felt, layout.felt_n)
    return (*standing, *(place(stage) for place in by_stage for stage in range(stages)))
