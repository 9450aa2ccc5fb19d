"""Transitions by the time they happened."""

from __future__ import annotations

from fastapi import APIRouter

from services.metrics.analysis.transitions import transitions
from services.metrics.analysis.windows import cover
from services.metrics.api.access import METRICS
from services.metrics.api.answers import TransitionAnswer, TransitionsAnswer
from services.metrics.api.compose import common
from services.metrics.api.parameters import CutsQuery
from services.metrics.api.room import InRoom
from services.metrics.reader.rollups import flow

router = APIRouter(tags=["aggregates"], dependencies=[METRICS])


@router.get("/v1/maps/{map}/transitions")
async def show_transitions(room: InRoom, map: str, cuts: CutsQuery) -> TransitionsAnswer:
    """Which way journeys went in the range, in any direction, and how long they had stayed."""
    question = await room.question(map, cuts)
    definition = question.version.definition
    known, rows = await flow(room.database, question.cut, cover(question.window, definition.zone))
    return TransitionsAnswer(
        **common(question, known, room.clock()),
        transitions=[
            TransitionAnswer(from_=one.from_stage, to=one.to, count=one.count, median_seconds=one.median_seconds)
            for one in transitions(definition, rows)
        ],
    )
