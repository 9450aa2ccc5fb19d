"""Which records were refused, and what came of a redrive. What they hold is shown by `throughline deadletters show`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.metrics.analysis.cursors import LetterCursor
from services.metrics.api.access import ADMIN
from services.metrics.api.pages import page, place_of
from services.metrics.api.parameters import Instant, Pages
from services.metrics.api.room import InRoom
from services.metrics.reader.deadletters import LetterRow, Wanted, letters
from shared.touchpoint import moment

router = APIRouter(tags=["status"], dependencies=[ADMIN])
_Name = Annotated[str, Field(max_length=200)]


class LetterFilters(Pages):
    """Which dead letters are listed."""

    source: _Name | None = Field(None, description="Only those of this source.")
    reason: _Name | None = Field(None, description="Only those with this reason.")
    from_: Instant | None = Field(None, alias="from", description="Received from this instant on, RFC 3339.")
    to: Instant | None = Field(None, description="Received before this instant, RFC 3339.")
    redriven: bool | None = Field(None, description="Whether they have been judged again.")


class LetterAnswer(BaseModel):
    """A dead letter. ``bytes`` of it are kept; ``sealed``: they can be read with a key only. ``outcome`` of a redrive:
    `accepted`, `skipped`, or the reason to reject it again."""

    id: int
    at: datetime
    received_at: datetime | None
    source: str
    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    bytes: int
    sealed: bool
    redriven_at: datetime | None
    outcome: str | None


class LettersAnswer(BaseModel):
    """Dead letters, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "data": [
                    {
                        "id": 7, "at": "2026-11-23T10:00:01Z", "received_at": "2026-11-23T10:00:00Z",
                        "source": "shop-web", "reason": "identifier_missing",
                        "message": "at least one identifier is needed that is no placeholder",
                        "topic": "touchpoints.rejected", "partition": 0, "offset": 41, "bytes": 312, "sealed": False,
                        "redriven_at": None, "outcome": None,
                    }
                ],
                "next_cursor": None,
            }
        }
    )  # fmt: skip

    data: list[LetterAnswer]
    next_cursor: str | None


@router.get("/v1/deadletters")
async def list_dead_letters(room: InRoom, asked: Annotated[LetterFilters, Query()]) -> LettersAnswer:
    """What was refused and why, the newest first, for operators (scope `admin`)."""
    place = place_of(LetterCursor, asked.cursor)
    wanted = Wanted(
        below=2**63 - 1 if place is None else place.id,
        source=asked.source, reason=asked.reason, since=asked.from_, until=asked.to, redriven=asked.redriven,
    )  # fmt: skip
    async with room.database.snapshot() as snapshot:
        rows = await letters(snapshot, wanted, asked.limit + 1)
    shown, next_cursor = page(rows, asked.limit, lambda row: LetterCursor(row.id))
    return LettersAnswer(data=[_answer(row) for row in shown], next_cursor=next_cursor)


def _answer(row: LetterRow) -> LetterAnswer:
    return LetterAnswer(
        id=row.id,
        at=moment(row.at),
        received_at=None if row.received_at is None else moment(row.received_at),
        source=row.source,
        reason=row.reason,
        message=row.message,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        bytes=row.bytes,
        sealed=row.sealed,
        redriven_at=None if row.redriven_at is None else moment(row.redriven_at),
        outcome=row.outcome,
    )
