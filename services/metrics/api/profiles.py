"""One customer: where he stands, what he has been through, what he did, and why we think it was he."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

import msgspec
from fastapi import APIRouter

from services.metrics.analysis.cursors import LinkCursor, TouchpointCursor
from services.metrics.analysis.ladder import Evidence, Hop, Ladder
from services.metrics.api.access import NO_PARAMETERS, PROFILES
from services.metrics.api.answers import (
    EvidenceAnswer,
    HistoryAnswer,
    HopAnswer,
    IdentifierAnswer,
    LinkAnswer,
    LinksAnswer,
    ProfileAnswer,
    TouchpointAnswer,
    TouchpointsAnswer,
)
from services.metrics.api.compose import fresh, journey_answer, lived_journey
from services.metrics.api.journeys import after_of, mark
from services.metrics.api.pages import page, place_of
from services.metrics.api.parameters import HistoryFilters, HistoryFiltersQuery, PagesQuery
from services.metrics.api.room import InRoom, pick_version
from services.metrics.errors import Problem, invalid, not_allowed
from services.metrics.reader import profiles as reader
from services.metrics.reader.catalogue import Catalogue
from services.metrics.reader.database import Snapshot
from services.metrics.reader.freshness import as_of
from services.metrics.reader.journeys import current_journeys, journeys_of_profile
from services.metrics.reader.profiles import LinkAfter, LinkRow, ProfileRow, TouchpointAfter, TouchpointRow
from shared.identifiers import IdentityRules, key, normalise, uid
from shared.touchpoint import moment

OPENAPI_WHO: Final = "a profile id, or kind:value of an identifier, the value percent-encoded"
router = APIRouter(tags=["profiles"], dependencies=[PROFILES])


@router.get("/v1/profiles/{who}", dependencies=[NO_PARAMETERS])
async def show_profile(room: InRoom, who: str) -> ProfileAnswer:
    """Who a customer is and where he stands on each map now."""
    catalogue = await room.catalogues.get()
    maps = {version.map_id: version for version in catalogue.newest()}
    async with room.database.snapshot() as snapshot:
        profile = await find(snapshot, who, room.rules)
        keys = await reader.identifiers(snapshot, profile.profile_id)
        current = await current_journeys(snapshot, profile.profile_id, list(maps))
        known = await as_of(snapshot)
    return ProfileAnswer(
        **fresh(known, room.clock()),
        profile_id=profile.profile_id,
        identifiers=[_identifier(one) for one in _by_rank(keys, room.rules)],
        traits=profile.traits,
        segments=sorted({segment for row in current.values() for segment in row.segments}),
        touchpoints=profile.touchpoints,
        last_at=moment(profile.last_time),
        journeys={
            version.name: journey_answer(current[map_id], version.definition) if map_id in current else None
            for map_id, version in maps.items()
        },
    )


@router.get("/v1/profiles/{who}/journeys")
async def list_history(room: InRoom, who: str, asked: HistoryFiltersQuery) -> HistoryAnswer:
    """A customer's journeys on all maps with their visits, the latest first."""
    catalogue = await room.catalogues.get()
    wanted, after = _wanted(catalogue, asked), after_of(asked.cursor)
    async with room.database.snapshot() as snapshot:
        profile = await find(snapshot, who, room.rules)
        rows = await journeys_of_profile(snapshot, profile.profile_id, wanted, after, asked.limit + 1)
        known = await as_of(snapshot)
    shown, next_cursor = page(rows, asked.limit, mark)
    versions = catalogue.by_id()
    return HistoryAnswer(
        **fresh(known, room.clock()),
        data=[lived_journey(row, versions[row.map_id].definition) for row in shown],
        next_cursor=next_cursor,
    )


@router.get("/v1/profiles/{who}/touchpoints")
async def list_touchpoints(room: InRoom, who: str, asked: PagesQuery) -> TouchpointsAnswer:
    """A customer's touchpoints as they were sent, each with the evidence that it is his, the latest first."""
    place = place_of(TouchpointCursor, asked.cursor)
    after = None if place is None else TouchpointAfter(place.time, place.id, place.identifier)
    async with room.database.snapshot() as snapshot:
        profile = await find(snapshot, who, room.rules)
        ladder, spans = await _owned(snapshot, profile, room.rules)
        rows = await reader.touchpoints(snapshot, spans, after, asked.limit + 1)
        known = await as_of(snapshot)
    shown, next_cursor = page(rows, asked.limit, lambda row: TouchpointCursor(row.time, row.id, row.identifier))
    return TouchpointsAnswer(
        **fresh(known, room.clock()), data=[_touchpoint(row, ladder) for row in shown], next_cursor=next_cursor
    )


@router.get("/v1/profiles/{who}/links")
async def list_links(room: InRoom, who: str, asked: PagesQuery) -> LinksAnswer:
    """The evidence that ties a customer's identifiers together, revoked evidence too."""
    place = place_of(LinkCursor, asked.cursor)
    after = None if place is None else LinkAfter(place.earliest, place.kind, place.one, place.two)
    async with room.database.snapshot() as snapshot:
        profile = await find(snapshot, who, room.rules)
        members = await reader.family(snapshot, profile.profile_id, room.rules)
        rows = await reader.links(snapshot, list(members.values()), after, asked.limit + 1)
        known = await as_of(snapshot)
    shown, next_cursor = page(rows, asked.limit, lambda row: LinkCursor(row.earliest, row.kind, row.one, row.two))
    return LinksAnswer(
        **fresh(known, room.clock()), data=[_link(row, room.rules) for row in shown], next_cursor=next_cursor
    )


async def find(snapshot: Snapshot, who: str, rules: IdentityRules) -> ProfileRow:
    """The profile of a profile id or of an identifier; Problem if there is none."""
    given = unquote(who)
    try:
        of, is_profile_id = UUID(given), True
    except ValueError:
        of, is_profile_id = uid(read_key(given, rules)), False
    found = await reader.profile(snapshot, of, is_profile_id)
    if found is None:
        raise Problem("profile_unknown", f"no profile {given!r}; nothing of it is in the tables (yet)")
    return found


def read_key(given: str, rules: IdentityRules) -> str:
    """``kind:value`` as ingest would have it; Problem names the kinds that there are."""
    kind, colon, value = given.partition(":")
    if not colon:
        raise invalid("profile", f"{given!r} is neither a profile id nor kind:value")
    if kind not in rules.kinds:
        raise not_allowed("kind", kind, rules.kinds)
    return key(kind, normalise(kind, value))


async def _owned(
    snapshot: Snapshot, profile: ProfileRow, rules: IdentityRules
) -> tuple[Ladder, list[tuple[UUID, int, int]]]:
    """Which touchpoints are a profile's: under which identifiers, in which spans of time."""
    members = await reader.family(snapshot, profile.profile_id, rules)
    ladder = await reader.ladder(snapshot, members.values(), rules)
    return ladder, [(member, *span) for name, member in members.items() for span in ladder.owned(name, profile.root)]


def _wanted(catalogue: Catalogue, asked: HistoryFilters) -> list[int]:
    """The map ids of live versions that are asked for."""
    if asked.map is None:
        if asked.version is not None:
            raise invalid("version", "needs map: a version is one of a map")
        return [one.map_id for one in catalogue.versions if one.live]
    if asked.version is not None:
        return [pick_version(catalogue, asked.map, asked.version).map_id]
    pick_version(catalogue, asked.map, None)
    return [one.map_id for one in catalogue.live(asked.map)]


def _identifier(one: str) -> IdentifierAnswer:
    kind, _, value = one.partition(":")
    return IdentifierAnswer(kind=kind, value=value)


def _by_rank(keys: list[str], rules: IdentityRules) -> list[str]:
    """The highest kind first; kinds that are no longer configured last."""

    def place(one: str) -> tuple[int, str]:
        kind = one.partition(":")[0]
        return (rules.kinds.index(kind) if kind in rules.kinds else len(rules.kinds), one)

    return sorted(keys, key=place)


def _touchpoint(row: TouchpointRow, ladder: Ladder) -> TouchpointAnswer:
    sent: dict[str, Any] = {"event": None, "acquisition": None, "properties": {}, "traits": {}, "context": {}}
    sent |= msgspec.json.decode(row.data)
    because = [_hop(hop) for hop in ladder.chain(row.key, row.time)]
    return TouchpointAnswer(**sent | {"identifier": row.key, "because": because})


def _hop(hop: Hop) -> HopAnswer:
    said = {"time": moment(hop.time), "touchpoint_id": hop.touchpoint_id}
    if isinstance(hop, Evidence):
        return HopAnswer(kind="link", lower=hop.lower, higher=hop.higher, **said)
    return HopAnswer(kind="alias", lower=max(hop.a, hop.b), higher=min(hop.a, hop.b), **said)


def _link(row: LinkRow, rules: IdentityRules) -> LinkAnswer:
    return LinkAnswer(
        kind=row.kind,
        lower=row.one_key,
        higher=row.two_key,
        earliest=EvidenceAnswer(time=moment(row.earliest), touchpoint_id=row.earliest_id),
        latest=EvidenceAnswer(time=moment(row.latest), touchpoint_id=row.latest_id),
        shared=row.kind == "link" and row.one_degree > rules.shared_above,
        revoked=row.revoked,
        reason=row.reason or None,
    )
