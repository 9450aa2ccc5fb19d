"""Rows of the tables <-> values of the core; nothing here touches the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec
from aiokafka.codec import zstd_decode, zstd_encode
from asyncpg.pgproto.pgproto import UUID as FastUUID

from services.stitcher.journey.facts import MINUTES_KEPT, SECONDS_KEPT, Cell, Cohort, Rollups
from services.stitcher.journey.fold import Journey, stages_in
from services.stitcher.journey.identity import Link, Span
from services.stitcher.ports import Identifier, Profile, TouchpointRow
from shared.tables import DAY_TIER, HOUR_TIER, MINUTE_TIER, SECOND_TIER, Visit

Row = Sequence[Any]
Columns = list[list[Any]]
TOUCHPOINT = ("identifier", "id", "time", "received_at", "traits", "data")
EVER = -(2**63)
_COMPRESSED = b"\x28\xb5\x2f\xfd"  # begins what zstd makes, and no msgpack of a list

_pack = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_visits = msgspec.msgpack.Decoder(list[Visit], strict=False).decode  # numbers too large for msgpack are text
traits = msgspec.msgpack.Decoder(dict[str, tuple[int, str, Any]]).decode
_changes = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode
_ids = msgspec.msgpack.Decoder(dict[int, bytes]).decode


def columns(rows: Iterable[Row], width: int) -> Columns:
    """Rows as the arrays that a statement unnests."""
    found = [list(column) for column in zip(*rows, strict=True)]
    return found or [[] for _ in range(width)]


def array(values: Iterable[str]) -> str:
    """A text array as PostgreSQL reads it."""
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


def numbers(values: Iterable[int]) -> str:
    """An array of numbers as PostgreSQL reads it."""
    return "{" + ",".join(map(str, values)) + "}"


def identifier(row: Row) -> Identifier:
    """From uid, key, component, profile, degree, aliased."""
    return Identifier(row[1], row[3], row[4], row[5])


def span(row: Row) -> Span:
    """From earliest, earliest_id, latest, latest_id."""
    return Span(*row)


def link(row: Row, key_of: Any) -> Link:
    """From lower, higher, the span and revoked; ``key_of`` names uids."""
    return Link(key_of(row[0]), key_of(row[1]), Span(row[2], row[3], row[4], row[5]), row[6])


def cell(row: Row) -> Cell:
    """From map_id, segment, channel, acquisition, source."""
    return Cell(*row)


def touchpoint(row: Row, key: str) -> TouchpointRow:
    """From identifier (``key``), id, time, received_at, traits, data."""
    return TouchpointRow(key, row[1], row[2], row[3], row[4], row[5])


def last_journeys(packed: bytes) -> dict[int, UUID]:
    """{map_id: journey_id}, from the column `journeys` of profiles."""
    return {map_id: FastUUID(id_) for map_id, id_ in _ids(packed).items()}


def profile(row: Row, key: str) -> Profile:
    """From profile_id, touchpoints, last_time, traits, journeys, sequence, and the root identifier's ``key``."""
    return Profile(row[0], key, row[1], row[2], traits(row[3]), last_journeys(row[4]), row[5])


def profile_row(one: Profile) -> Row:
    return (
        one.profile_id, one.touchpoints, one.last_time, _pack(one.traits), _pack(one.journeys), one.sequence,
    )  # fmt: skip


def journey(row: Row) -> tuple[UUID, Journey]:
    """From the columns of `sql.JOURNEYS` or `sql.WHOLE_JOURNEYS`: (profile_id, journey)."""
    (
        profile_id, journey_id, map_id, status, stalled, furthest, touchpoints, started_at, last_at, deadline,
        closed_at, closed_early, converted_at, value, channel, acquisition, source, segments, restated, entered,
        visits, sealed, blocks,
    ) = row  # fmt: skip
    read = _visits(visits)
    if blocks:
        read = [*chain.from_iterable(map(_visits, blocks)), *read]
    return profile_id, Journey(
        journey_id=journey_id,
        map_id=map_id,
        channel=channel,
        acquisition=acquisition,
        source=source,
        started_at=started_at,
        last_at=last_at,
        deadline=deadline,
        segments=tuple(segments),
        visits=read,
        furthest=furthest,
        entered=sum(1 << stage for stage in entered),
        touchpoints=touchpoints,
        converted_at=converted_at,
        value=int(value),
        closed_at=closed_at if closed_early else None,
        early=closed_early,
        restated=restated,
        first=0 if blocks else sealed,
        sealed=sealed,
        counted=(status, stalled, closed_at),
    )


def outbox_pack(changes: Sequence[tuple[UUID, bytes]]) -> bytes:
    """Changes as they lie in one row of the outbox; PostgreSQL's own compression takes ten times as long."""
    packed: bytes = zstd_encode(_pack([(str(profile_id), record) for profile_id, record in changes]), 1)
    return packed


def outbox_records(pack: bytes) -> list[tuple[str, bytes]]:
    """(key, record) of the changes in one row of the outbox, in order; rows of earlier versions are not compressed."""
    return _changes(zstd_decode(pack) if pack.startswith(_COMPRESSED) else pack)


def pack_visits(visits: list[Visit]) -> bytes:
    """As they lie in `journeys` and `visit_blocks`; a sum of money beyond 64 bit is written as text."""
    try:
        return _pack(visits)
    except OverflowError:
        return _pack([[_in_bounds(value) for value in msgspec.structs.astuple(visit)] for visit in visits])


def _in_bounds(value: Any) -> Any:
    return str(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def by_start(owned: tuple[UUID, Journey]) -> tuple[Any, ...]:
    """Sorts the journeys of a profile in a map; where several begin in one instant, as their first touchpoints do."""
    one = owned[1]
    first = one.visits[0]
    return one.started_at, first.stage, first.cause, one.closed_at is None, one.journey_id


@lru_cache(maxsize=4096)
def _stages(entered: int) -> str:
    """The stages visited, sorted, as PostgreSQL reads an array."""
    return numbers(stages_in(entered))


def block_rows(one: Journey) -> list[Row]:
    """What of a journey is to be sealed, in the order of `sql.BLOCK`."""
    return [(one.journey_id, first, pack_visits(visits)) for first, visits in one.seal()]


def journey_row(profile_id: UUID, one: Journey, due_at: int | None) -> Row:
    """In the order of `sql.MERGE_JOURNEYS`; status, stalled and closed_at are as counted."""
    assert one.counted is not None, "a journey is stored as it was counted"
    status, stalled, closed_at = one.counted
    return (
        one.journey_id, profile_id, one.map_id, status, stalled, one.visits[-1].stage, one.furthest,
        _stages(one.entered), one.touchpoints, one.started_at, one.last_at,
        one.deadline, closed_at, one.early, one.converted_at, str(one.value), one.channel, one.acquisition, one.source,
        array(one.segments) if one.segments else "{}", one.restated, due_at, pack_visits(one.tail),
        one.sealed,
    )  # fmt: skip


def cells(rollups: Rollups) -> set[Cell]:
    """The cells that the deltas are of."""
    return {name[0] for name in rollups.cohort} | {name[0] for name in rollups.flow}


CohortRow = tuple[int, int, int, Cohort]  # cell_id, tier, at
FlowRow = tuple[int, int, int, int, int, int, int]  # cell_id, tier, at, from_stage, to_stage, bucket, n


def cohort_rows(rollups: Rollups, cell_ids: dict[Cell, int]) -> list[CohortRow]:
    """What is not nothing, in the order of the key."""
    rows = [
        (cell_ids[cell], tier, at, delta)
        for (cell, tier, at), delta in rollups.cohort.items()
        if delta.value or delta.restated or any(delta.counts)
    ]
    rows.sort(key=itemgetter(0, 1, 2))
    return rows


def flow_rows(rollups: Rollups, cell_ids: dict[Cell, int], now: int) -> list[FlowRow]:
    """What is not nothing and still kept at ``now``, in the order of the key."""
    since = {SECOND_TIER: now - SECONDS_KEPT, MINUTE_TIER: now - MINUTES_KEPT, HOUR_TIER: EVER, DAY_TIER: EVER}
    return sorted((cell_ids[key[0]], *key[1:], n) for key, n in rollups.flow.items() if n and key[2] > since[key[1]])
