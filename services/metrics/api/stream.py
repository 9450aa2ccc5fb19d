"""Server-sent events: the map at this moment about once a second, and transitions as they are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.metrics.analysis.now import Counted, newly_counted
from services.metrics.analysis.transitions import ENDS
from services.metrics.analysis.windows import Window
from services.metrics.api.access import Credentials, refuse_twice
from services.metrics.api.now import now_answer
from services.metrics.api.parameters import StreamedQuery
from services.metrics.api.room import Clock, InRoom, Question, pick_version
from services.metrics.live import Event
from services.metrics.reader.catalogue import Catalogues, MapVersion
from services.metrics.reader.database import Database
from services.metrics.reader.rollups import Cut, counted_since
from shared.tables import START
from shared.touchpoint import MINUTE, moment

REMEMBERED: Final = 2 * MINUTE
router = APIRouter(tags=["live"])


@router.get(
    "/v1/stream",
    response_class=EventSourceResponse,
    responses={
        200: {
            "content": {
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'event: now\r\ndata: {"map": "shop", "version": 3, "stages": []}\r\n\r\n',
                }
            }
        }
    },
)
async def stream(
    request: Request, room: InRoom, credentials: Credentials, wanted: StreamedQuery
) -> EventSourceResponse:
    """`now` events carry what `/v1/maps/{map}/now` answers, `transition` events the map, from, to and count."""
    refuse_twice(request)
    room.access.check(credentials.credentials if credentials else wanted.key, "metrics")
    if wanted.map is not None:
        pick_version(await room.catalogues.get(), wanted.map, None)

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for event in room.live.listen(Pulse(room.database, room.catalogues, room.clock).read):
            if wanted.map in (None, event.map):
                yield ServerSentEvent(event.data, event=event.name)

    return EventSourceResponse(events(), ping=15)


class Pulse:
    """Reads what there is to tell of all maps; remembers what it has counted, to tell of transitions once."""

    def __init__(self, database: Database, catalogues: Catalogues, clock: Clock) -> None:
        self._database, self._catalogues, self._clock = database, catalogues, clock
        self._counted: dict[int, Counted] = {}

    async def read(self) -> list[Event]:
        """`transition` events before the `now` that holds them, map by map."""
        events: list[Event] = []
        for version in (await self._catalogues.get()).newest():
            events += await self._transitions(version)
            question = Question(version, Window(), Cut(version.map_id))
            answer = await now_answer(self._database, question, self._clock)
            events.append(Event("now", version.name, answer.model_dump_json(by_alias=True)))
        return events

    async def _transitions(self, version: MapVersion) -> list[Event]:
        since = self._clock() - REMEMBERED
        as_of, counted = await counted_since(self._database, version.map_id, since)
        before = self._counted.get(version.map_id)
        self._counted[version.map_id] = counted
        if before is None:
            return []
        names = [stage.name for stage in version.definition.stages]
        return [
            Event("transition", version.name, _transition(version, names, as_of, pair, n))
            for pair, n in newly_counted(before, counted).items()
        ]


def _transition(version: MapVersion, names: list[str], as_of: int, pair: tuple[int, int], count: int) -> str:
    origin, to = pair
    told = {
        "map": version.name,
        "version": version.version,
        "from": None if origin == START else names[origin],
        "to": names[to] if to >= 0 else ENDS[to],
        "count": count,
        "as_of": moment(as_of),
    }
    return msgspec.json.encode(told).decode()
