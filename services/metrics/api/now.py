"""The map at this moment."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from services.metrics.analysis.now import now
from services.metrics.analysis.windows import cover, last_hours, last_minute
from services.metrics.api.access import METRICS
from services.metrics.api.answers import NowAnswer
from services.metrics.api.compose import common
from services.metrics.api.parameters import CutsQuery
from services.metrics.api.room import Clock, InRoom, Question
from services.metrics.reader.database import Database
from services.metrics.reader.rollups import Places, standing
from shared.tables import CohortLayout

router = APIRouter(tags=["aggregates"], dependencies=[METRICS])


@router.get("/v1/maps/{map}/now")
async def show_now(room: InRoom, map: str, cuts: CutsQuery) -> NowAnswer:
    """How many journeys are in each stage, how many are stalled, and what came and went lately."""
    return await now_answer(room.database, await room.question(map, cuts), room.clock)


async def now_answer(database: Database, question: Question, clock: Clock) -> NowAnswer:
    """The same for whoever asks."""
    definition, instant = question.version.definition, clock()
    lately = {
        "1m": last_minute(instant),
        "1h": last_hours(instant, 1, definition.zone),
        "24h": last_hours(instant, 24, definition.zone),
    }
    spans, wanted = cover(question.window, definition.zone), _places(len(definition.stages))
    sums, moves = await standing(database, question.cut, spans, wanted, lately)
    stages = now(definition, sums.counts, moves)
    return NowAnswer(**common(question, sums.known, clock()), stages=stages)


@lru_cache(maxsize=256)
def _places(stages: int) -> Places:
    layout = CohortLayout(stages, 0)
    states = (layout.OPEN_NEW, layout.OPEN_CONVERTED, layout.STALLED)
    return tuple(layout.at(stage, state) for stage in range(stages) for state in states)
