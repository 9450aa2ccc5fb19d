"""The journeys behind a count."""

from __future__ import annotations

from fastapi import APIRouter

from services.metrics.analysis.cursors import JourneyCursor
from services.metrics.analysis.windows import cover
from services.metrics.api.access import PROFILES
from services.metrics.api.answers import JourneysAnswer
from services.metrics.api.compose import common, journey_answer
from services.metrics.api.pages import page, place_of
from services.metrics.api.parameters import JourneyFilters, JourneyFiltersQuery
from services.metrics.api.room import InRoom
from services.metrics.errors import not_allowed
from services.metrics.reader.freshness import as_of
from services.metrics.reader.journeys import After, Filters, JourneyRow, journeys
from services.metrics.reader.rollups import Known, restated
from shared.journey_map import JourneyMap
from shared.tables import STATUSES

router = APIRouter(tags=["journeys"], dependencies=[PROFILES])


@router.get("/v1/maps/{map}/journeys")
async def list_journeys(room: InRoom, map: str, asked: JourneyFiltersQuery) -> JourneysAnswer:
    """The journeys that an aggregate with the same filters counts, the latest to begin first."""
    question = await room.question(map, asked)
    definition = question.version.definition
    filters, after = filters_of(asked, definition), after_of(asked.cursor)
    async with room.database.snapshot() as snapshot:
        rows = await journeys(snapshot, question.cut, question.window, filters, after=after, limit=asked.limit + 1)
        changed = await restated(snapshot, question.cut, cover(question.window, definition.zone))
        known = Known(await as_of(snapshot), changed)
    shown, next_cursor = page(rows, asked.limit, mark)
    return JourneysAnswer(
        **common(question, known, room.clock()),
        data=[journey_answer(row, definition) for row in shown],
        next_cursor=next_cursor,
    )


def after_of(cursor: str | None) -> After:
    """Where a page of journeys begins."""
    place = place_of(JourneyCursor, cursor)
    return After() if place is None else After(place.started_at, place.journey_id)


def mark(row: JourneyRow) -> JourneyCursor:
    """Where the page after this row begins."""
    return JourneyCursor(row.started_at, row.journey_id)


def filters_of(asked: JourneyFilters, definition: JourneyMap) -> Filters:
    """Names as positions; Problem names the stages that there are."""
    names = [stage.name for stage in definition.stages]

    def position(parameter: str, name: str | None) -> int | None:
        if name is None:
            return None
        if name not in names:
            raise not_allowed(parameter, name, names)
        return names.index(name)

    return Filters(
        status=None if asked.status is None else STATUSES.index(asked.status),
        stage=position("stage", asked.stage),
        furthest=position("furthest", asked.furthest),
        reached=position("reached", asked.reached),
        entered=position("entered", asked.entered),
        converted=asked.converted,
        stalled=asked.stalled,
    )
