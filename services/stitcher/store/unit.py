"""One transaction on PostgreSQL: the `Unit` that stitching works with."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg

from services.stitcher.errors import Stale, Transient
from services.stitcher.journey.facts import Rollups
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import Alias, Link, Span
from services.stitcher.journey.touch import Touch
from services.stitcher.ports import (
    Changes,
    DeadLetter,
    Family,
    Identifier,
    Position,
    Profile,
    StoredRevocation,
    TouchpointRow,
)
from services.stitcher.stitching import uid
from services.stitcher.store import rows, sql
from services.stitcher.store.cells import Cells
from services.stitcher.store.components import Groups, apart
from services.stitcher.store.given import MANY, Given
from shared.touchpoint import HOUR

NEVER = -(2**63)
TOP = "user_id:"  # the kind that links to nothing higher
PACK = 250  # changes in one row of the outbox
Durations = defaultdict[str, float]  # seconds by step


class PostgresUnit:
    """See `ports.Unit`. ``connection`` is in a transaction; ``durations`` are added to. ``components`` are where
    identifiers were last seen, as good as a guess; ``seen`` is what was found instead, true once this has committed."""

    def __init__(
        self, connection: Any, map_ids: Sequence[int], cells: Cells, components: Mapping[UUID, UUID],
        durations: Durations | None = None,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._map_ids = list(map_ids)
        self._cells = cells
        self._components = components
        self.seen: dict[UUID, UUID] = {}
        self._keys: dict[UUID, str] = {}
        self._met: dict[UUID, Identifier] = {}
        self._copied: set[str] = set()
        self.durations: Durations = defaultdict(float) if durations is None else durations

    # --- Running statements ------------------------------------------------------------------------------------------

    async def _rows(self, step: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        started = time.perf_counter()
        found: list[asyncpg.Record] = await self._connection.fetch(statement, *arguments)
        self.durations[step] += time.perf_counter() - started
        return found

    async def _run(self, step: str, statement: str, *arguments: Any) -> None:
        started = time.perf_counter()
        await self._connection.execute(statement, *arguments)
        self.durations[step] += time.perf_counter() - started

    async def _copy(self, table: str, given: Sequence[rows.Row], columns: Sequence[str]) -> None:
        started = time.perf_counter()
        await self._connection.copy_records_to_table(table, records=given, columns=columns)
        self.durations[table] += time.perf_counter() - started

    async def _give(self, step: str, statement: Given, given: Sequence[rows.Row]) -> list[asyncpg.Record]:
        """Runs a statement with rows; once copied, they stay in their temporary table until the transaction ends."""
        started = time.perf_counter()
        copied = len(given) >= MANY and statement.name not in self._copied
        if copied:
            self._copied.add(statement.name)
        found: list[asyncpg.Record] = await statement.run(self._connection, given, copied=copied)
        self.durations[step] += time.perf_counter() - started
        return found

    def _uids(self, keys: Iterable[str]) -> list[UUID]:
        """The uids of keys, sorted, and remembered for the way back."""
        found = []
        for key in keys:
            one = uid(key)
            self._keys[one] = key
            found.append(one)
        found.sort()
        return found

    def _key(self, one: UUID) -> str:
        return self._keys[one]

    # --- The fence ---------------------------------------------------------------------------------------------------

    async def fence(self, topic: str, positions: Mapping[int, Position]) -> int:
        columns = rows.columns(
            [(p, at.epoch, at.expected, at.next, at.end, at.as_of or NEVER) for p, at in sorted(positions.items())], 6
        )
        now = time.time_ns() // 1000
        moved = await self._rows("fence", sql.FENCE, topic, *columns[:5], now, columns[5])
        if len(moved) != len(positions):
            raise Stale(f"{len(positions) - len(moved)} of {len(positions)} partitions of {topic} are no longer ours")
        return int(moved[0][0] or 0) if moved else await self.clock()

    async def clock(self) -> int:
        """The instant up to which time has closed journeys."""
        return int(await self._connection.fetchval(sql.CLOCK) or 0)

    async def bury(self, topic: str, letters: Sequence[DeadLetter], now: int) -> None:
        """Keeps records that nothing can be made of."""
        given = [
            (one.partition, one.offset, one.source, one.reason, one.message, one.data, one.received_at, one.request,
             one.sealed)
            for one in letters
        ]  # fmt: skip
        await self._run("bury", sql.BURY, now, topic, *rows.columns(_sorted(given, 2), 9))

    # --- Identifiers and their components ----------------------------------------------------------------------------

    async def lock(self, keys: Iterable[str], unions: Iterable[Sequence[str]]) -> dict[str, Identifier]:
        uids = self._uids(set(keys))
        joined = [[uid(key) for key in group] for group in unions]
        remembered = self._components.get
        self.seen = component = {one: home for one in uids if (home := remembered(one)) is not None}
        if unseen := [one for one in uids if one not in component]:
            component |= dict(await self._rows("identifiers", sql.COMPONENTS, unseen))
        new = await self._add(uids, component, Groups(apart(joined, component)))
        await self._settle([one for one in uids if one not in new], component)
        await self._unite(Groups(apart(joined, component)).contested(component), component, new)
        return {self._keys[one]: self._met[one] for one in uids}

    async def _meet_all(self, uids: Sequence[UUID]) -> list[asyncpg.Record]:
        return self._meet(await self._rows("identifiers", sql.IDENTIFIERS, uids))

    def _meet(self, found: list[asyncpg.Record]) -> list[asyncpg.Record]:
        for row in found:
            self._met[row[0]] = one = rows.identifier(row)
            self._keys[row[0]] = one.key
        return found

    async def _add(self, uids: Sequence[UUID], component: dict[UUID, UUID], groups: Groups) -> set[UUID]:
        """Inserts what is missing, into the component that it is about to be part of."""
        missing = [one for one in uids if one not in component]
        if not missing:
            return set()
        proposed = groups.proposed(missing, component)
        given = [(one, self._keys[one], proposed[one]) for one in missing]
        added = await self._give("add identifiers", sql.INSERT_IDENTIFIERS, given)
        new = {row[0] for row in added}
        for one in missing:
            component[one] = proposed[one]
            self._met[one] = Identifier(self._keys[one], one, 0, False, one in new)
        return new

    async def _settle(self, existing: Sequence[UUID], component: dict[UUID, UUID]) -> None:
        """Locks the components of what exists, again until what was read is what is locked."""
        locked: set[UUID] = set()
        left = existing
        while wanted := {component[one] for one in left} - locked:
            found = self._meet(await self._rows("lock", sql.LOCK_COMPONENTS, sorted(wanted)))
            locked |= wanted
            if members := [one for one in left if one not in wanted]:
                found += await self._meet_all(members)
            if len(found) < len(wanted) + len(members):
                raise Transient("identifiers that were there are gone: the tables are not what they were")
            component |= {row[0]: row[2] for row in found}
            left = [one for one in left if component[one] not in locked]

    async def _unite(self, contested: Sequence[Sequence[UUID]], component: dict[UUID, UUID], new: set[UUID]) -> None:
        """Makes one component of each group: the largest one's, so that a kiosk's is not written again each time."""
        if not contested:
            return
        old = {component[one] for one in component.keys() - new}
        rivals = sorted({one for group in contested for one in group if one in old})
        sizes: dict[UUID, int] = defaultdict(int)
        if any(sum(one in old for one in group) > 1 for group in contested):
            sizes |= dict(await self._rows("component sizes", sql.COMPONENT_SIZES, rivals))
        moves: dict[UUID, UUID] = {}
        for group in contested:
            winner = max(group, key=lambda one: (one in old, sizes[one], one))
            moves |= {loser: winner for loser in group if loser != winner}
        await self._run("unite", sql.UNITE_COMPONENTS, *rows.columns(sorted(moves.items()), 2))
        component |= {one: moves[home] for one, home in component.items() if home in moves}

    # --- Evidence ----------------------------------------------------------------------------------------------------

    async def links_up(
        self, lowers: Iterable[str], pairs: Iterable[tuple[str, str]], shared_above: int
    ) -> tuple[dict[str, Identifier], list[Link]]:
        climbed = set(self._uids(lowers))
        found = await self._climb(climbed, shared_above)
        named = {(uid(lower), uid(higher)) for lower, higher in pairs}
        left = sorted(pair for pair in named if pair[0] not in climbed)
        if left:
            found += await self._rows("links", sql.LINKS, *rows.columns(left, 2))
            await self._meet_missing(end for row in found for end in (row[0], row[1]))
        ends = {end for row in found for end in (row[0], row[1])}
        return {self._keys[one]: self._met[one] for one in ends}, [rows.link(row, self._key) for row in found]

    async def _climb(self, climbed: set[UUID], shared_above: int) -> list[asyncpg.Record]:
        """All links of these that are not shared, and of what they link to. Adds whatever had its links read to
        ``climbed``, and takes out what is shared."""
        found: list[asyncpg.Record] = []
        todo = set(climbed)
        climbed.clear()
        while todo:
            await self._meet_missing(todo)
            steps = sorted(one for one in todo if one in self._met and self._met[one].degree <= shared_above)
            climbed |= set(steps)
            old = [one for one in steps if not self._met[one].new and not self._met[one].key.startswith(TOP)]
            rows_ = await self._rows("links", sql.LINKS_OF, old) if old else []
            found += rows_
            todo = {row[1] for row in rows_} - climbed
        return found

    async def _meet_missing(self, uids: Iterable[UUID]) -> None:
        """Reads the identifiers that this transaction has not met yet."""
        missing = sorted(set(uids) - self._met.keys())
        if missing:
            await self._meet_all(missing)

    async def hours(self, lowers: Iterable[str]) -> dict[tuple[str, str, int], Span]:
        found = await self._rows("hours", sql.HOURS, self._uids(lowers))
        await self._meet_all(sorted({row[1] for row in found} - self._keys.keys()))
        return {(self._keys[row[0]], self._keys[row[1]], row[2]): Span(*row[3:7]) for row in found}

    async def aliases(self, users: Iterable[str]) -> list[Alias]:
        found = await self._rows("aliases", sql.ALIASES, self._uids(users))
        return [Alias(*row) for row in found]

    async def family(self, keys: Iterable[str], shared_above: int) -> Family:
        uids = self._uids(keys)
        await self._meet_missing(uids)
        found = {one for one in uids if one in self._met}
        if named := [self._met[one].key for one in found if self._met[one].aliased]:
            found |= set(self._uids(key for alias in await self.aliases(named) for key in (alias.a, alias.b)))
            await self._meet_missing(found)
        await self._descend(found, shared_above)
        links = await self._climb(set(found), shared_above)
        found |= {end for row in links for end in (row[0], row[1])}
        await self._meet_missing(found)
        return Family({self._keys[one]: self._met[one] for one in found}, [rows.link(row, self._key) for row in links])

    async def _descend(self, found: set[UUID], shared_above: int) -> None:
        """Adds all that lies below, not entering what is shared."""
        todo = sorted(one for one in found if not self._met[one].new)
        while todo:
            below = {row[0] for row in await self._rows("family", sql.BELOW, todo)} - found
            await self._meet_missing(below)
            todo = sorted(one for one in below if self._met[one].degree <= shared_above)
            found |= set(todo)

    async def revocations(self, ids: Iterable[UUID], pairs: Iterable[tuple[str, str]]) -> dict[UUID, StoredRevocation]:
        named = sorted((uid(lower), uid(higher)) for lower, higher in pairs)
        wanted = sorted(ids)
        if wanted:
            await self._run("revocations", sql.ALONE_WITH_REVOCATIONS, wanted)
        found = await self._rows("revocations", sql.REVOCATIONS, wanted, *rows.columns(named, 2))
        return {row[0]: StoredRevocation(*row) for row in found}

    # --- Touchpoints -------------------------------------------------------------------------------------------------

    async def insert_touchpoints(
        self, given: Sequence[Touch | TouchpointRow], suspects: Iterable[tuple[str, str]]
    ) -> list[TouchpointRow]:
        fresh = self._touchpoint_rows(given)
        already = await self._stored(suspects)
        try:
            await self._add_touchpoints(fresh, already)
        except asyncpg.UniqueViolationError:
            already = await self._stored((row.key, row.id) for row in given)
            await self._add_touchpoints(fresh, already)
        return self._touchpoints(already)

    async def _stored(self, names: Iterable[tuple[str, str]]) -> list[asyncpg.Record]:
        """Those of these touchpoints, (key, id), that are there."""
        named = list(names)
        self._uids(key for key, _ in named)
        columns = rows.columns(_sorted([(uid(key), id_) for key, id_ in named], 2), 2)
        return await self._rows("touchpoints", sql.TOUCHPOINTS, *columns) if columns[0] else []

    async def _add_touchpoints(self, given: Sequence[rows.Row], but: Sequence[asyncpg.Record]) -> None:
        """Within a savepoint: where one of them is there all the same, nothing has happened."""
        taken = {(row[0], row[1]) for row in but}
        if fresh := [row for row in given if row[:2] not in taken] if taken else given:
            async with self._connection.transaction():
                await self._copy("touchpoints", fresh, rows.TOUCHPOINT)

    async def replace_touchpoints(self, given: Sequence[Touch | TouchpointRow]) -> None:
        await self._run("touchpoints", sql.REPLACE_TOUCHPOINTS, *rows.columns(self._touchpoint_rows(given), 6))

    def _touchpoint_rows(self, given: Sequence[Touch | TouchpointRow]) -> list[rows.Row]:
        found = [(uid(row.key), row.id, row.time, row.received_at, row.carries_traits, row.data) for row in given]
        return _sorted(found, 2)

    async def touchpoints(self, since: Mapping[str, int | None]) -> list[TouchpointRow]:
        self._uids(since)
        given = sorted((uid(key), NEVER if start is None else start) for key, start in since.items())
        return self._touchpoints(await self._rows("touchpoints since", sql.TOUCHPOINTS_SINCE, *rows.columns(given, 2)))

    async def trait_touchpoints(self, keys: Iterable[str]) -> list[TouchpointRow]:
        return self._touchpoints(await self._rows("touchpoints since", sql.TRAIT_TOUCHPOINTS, self._uids(keys)))

    def _touchpoints(self, found: Iterable[asyncpg.Record]) -> list[TouchpointRow]:
        return [rows.touchpoint(row, self._keys[row[0]]) for row in found]

    # --- Profiles and journeys ---------------------------------------------------------------------------------------

    async def profiles(self, ids: Iterable[UUID]) -> dict[UUID, Profile]:
        found = await self._rows("profiles", sql.PROFILES, sorted(ids))
        await self._meet_missing(row[0] for row in found if row[0] not in self._keys)
        return {row[0]: rows.profile(row, self._keys[row[0]]) for row in found}

    async def journeys(self, ids: Iterable[UUID], *, whole: bool = False) -> dict[UUID, tuple[UUID, Journey]]:
        statement = sql.WHOLE_JOURNEYS if whole else sql.JOURNEYS
        return {row[1]: rows.journey(row) for row in await self._rows("journeys", statement, sorted(ids))}

    async def journeys_of(self, profiles: Iterable[UUID]) -> list[tuple[UUID, Journey]]:
        found = await self._rows("journeys", sql.JOURNEYS_OF, sorted(profiles), self._map_ids)
        return sorted(map(rows.journey, found), key=rows.by_start)

    async def due(self, clock: int, limit: int) -> list[tuple[UUID, UUID]]:
        """Journeys that time must look at before ``clock``: (journey_id, profile_id)."""
        found = await self._rows("due", sql.DUE, clock // HOUR, clock, self._map_ids, limit)
        return [(row[0], row[1]) for row in found]

    async def root_keys(self, profiles: Iterable[UUID]) -> list[str]:
        """The keys of the identifiers that profiles are named by."""
        return [row[1] for row in await self._meet_all(sorted(set(profiles)))]

    # --- Writing -----------------------------------------------------------------------------------------------------

    async def write(self, changes: Changes) -> None:
        await self._write_identity(changes)
        await self._write_profiles(changes)
        if changes.outbox:
            await self._tell(changes.outbox)
        await self._write_rollups(changes.rollups, bool(changes.gone))

    async def _tell(self, outbox: Sequence[tuple[UUID, bytes]]) -> None:
        """Puts changes up for publishing, in this order."""
        packs = [(rows.outbox_pack(outbox[at : at + PACK]),) for at in range(0, len(outbox), PACK)]
        await self._copy("outbox", packs, ["records"])

    async def _write_identity(self, changes: Changes) -> None:
        touched = {*changes.profile_of, *changes.degrees, *changes.aliased}
        if touched:
            given = [
                (uid(key), changes.profile_of.get(key), changes.degrees.get(key), key in changes.aliased)
                for key in touched
            ]
            await self._give("identity", sql.UPDATE_IDENTIFIERS, _sorted(given))
        if changes.links:
            links = [
                (uid(one.lower), uid(one.higher), *_plain(one.span), one.revoked) for one in changes.links.values()
            ]
            await self._give("identity", sql.MERGE_LINKS, _sorted(links, 2))
        if changes.hours:
            hours = [
                (uid(lower), uid(higher), hour, *_plain(span)) for (lower, higher, hour), span in changes.hours.items()
            ]
            await self._give("identity", sql.MERGE_HOURS, _sorted(hours, 3))
        if changes.aliases:
            aliases = [(uid(a.a), uid(a.b), a.time, a.touchpoint_id, a.revoked) for a in changes.aliases.values()]
            await self._run("identity", sql.MERGE_ALIASES, *rows.columns(_sorted(aliases, 2), 5))
        if changes.revocations:
            await self._write_revocations(changes.revocations.values())

    async def _write_revocations(self, revocations: Iterable[StoredRevocation]) -> None:
        given = [
            (
                one.id, one.kind, None if one.lower is None else uid(one.lower),
                None if one.higher is None else uid(one.higher), one.reason, one.revoked_at, one.withdrawn_at,
            )
            for one in revocations
        ]  # fmt: skip
        await self._run("identity", sql.UPSERT_REVOCATIONS, *rows.columns(_sorted(given), 7))

    async def _write_profiles(self, changes: Changes) -> None:
        if changes.profiles:
            profiles = [rows.profile_row(one) for one in changes.profiles.values()]
            await self._give("write profiles", sql.MERGE_PROFILES, _sorted(profiles))
        if changes.gone:
            await self._run("write journeys", sql.DELETE_JOURNEYS, sorted(changes.gone))
        if unsealed := changes.unsealed | dict.fromkeys(changes.gone, 0):
            await self._run("write visits", sql.DELETE_BLOCKS, *rows.columns(sorted(unsealed.items()), 2))
        if blocks := [row for _, journey in changes.journeys.values() for row in rows.block_rows(journey)]:
            await self._copy("visit_blocks", _sorted(blocks, 2), sql.BLOCK)
        if changes.journeys:
            journeys = [
                rows.journey_row(profile_id, journey, changes.due.get(journey.journey_id))
                for profile_id, journey in changes.journeys.values()
            ]
            await self._give("write journeys", sql.MERGE_JOURNEYS, _sorted(journeys))

    async def _write_rollups(self, rollups: Rollups, removed: bool) -> None:
        """Adds the deltas, last of all, since everybody adds to the same few rows."""
        wanted = rows.cells(rollups)
        if not wanted:
            return
        cell_ids = await self._cells.ids(wanted)
        by_width = defaultdict(list)
        for row in rows.cohort_rows(rollups, cell_ids):
            by_width[len(row[3].counts)].append(row)
        for width, cohort in sorted(by_width.items()):
            given = [(cell, tier, at, rows.numbers(d.counts), d.value, d.restated) for cell, tier, at, d in cohort]
            await self._give("rollups", sql.add_cohort(width), given)
            if removed:
                await self._run("rollups", sql.DELETE_EMPTY_COHORT, *rows.columns([row[:3] for row in given], 3))
        flow = rows.flow_rows(rollups, cell_ids, time.time_ns() // 1000)
        if flow:
            await self._give("rollups", sql.ADD_FLOW, flow)
            if less := [row[:6] for row in flow if row[6] < 0]:
                await self._run("rollups", sql.DELETE_EMPTY_FLOW, *rows.columns(less, 6))


def _sorted(given: list[Any], key: int = 1) -> list[Any]:
    """Rows in the order of their key, the first ``key`` columns; one by one, since tuples compare each value twice."""
    for column in reversed(range(key)):
        given.sort(key=itemgetter(column))
    return given


def _plain(span: Span) -> tuple[int, str, int, str]:
    return span.earliest, span.earliest_id, span.latest, span.latest_id
