"""The state of the pipeline: log positions, versions, what was refused."""

from __future__ import annotations

from fastapi import APIRouter

from services.metrics.api.access import METRICS, NO_PARAMETERS
from services.metrics.api.answers import MapStatus, PartitionAnswer, StatusAnswer
from services.metrics.api.compose import fresh, version_answer
from services.metrics.api.room import InRoom
from services.metrics.reader.freshness import as_of
from services.metrics.reader.status import PartitionRow, partitions, refused
from shared.touchpoint import REJECTED, TOUCHPOINTS, moment

router = APIRouter(tags=["status"], dependencies=[METRICS, NO_PARAMETERS])


@router.get("/v1/status")
async def show_status(room: InRoom) -> StatusAnswer:
    """How far the log has been read, which map versions are live, what was refused and why."""
    catalogue = await room.catalogues.get()
    async with room.database.snapshot() as snapshot:
        rows, letters, known = await partitions(snapshot), await refused(snapshot), await as_of(snapshot)
    return StatusAnswer(
        **fresh(known, room.clock()),
        partitions=[_partition(row) for row in rows],
        lag=sum(_lag(row) for row in rows if row.topic == TOUCHPOINTS),
        maps=[
            MapStatus(map=name, versions=[version_answer(one) for one in catalogue.versions if one.name == name])
            for name in sorted({one.name for one in catalogue.versions})
        ],
        rejected=letters.get(REJECTED, {}),
        dead_letters=_without(letters, REJECTED),
    )


def _lag(row: PartitionRow) -> int:
    return max(0, row.end_offset - row.next_offset)


def _partition(row: PartitionRow) -> PartitionAnswer:
    return PartitionAnswer(
        topic=row.topic,
        partition=row.partition,
        next_offset=row.next_offset,
        end_offset=row.end_offset,
        lag=_lag(row),
        as_of=moment(row.as_of),
        owner=row.owner or None,
        updated_at=moment(row.updated_at),
    )


def _without(letters: dict[str, dict[str, int]], topic: str) -> dict[str, int]:
    """By reason, over all topics but one."""
    found: dict[str, int] = {}
    for reasons in (reasons for name, reasons in letters.items() if name != topic):
        for reason, n in reasons.items():
            found[reason] = found.get(reason, 0) + n
    return found
