"""The tables in memory: a Unit that passes the contract suite of PostgreSQL's, for laws tried thousands of times."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from uuid import UUID

from msgspec.structs import replace

from services.stitcher.journey.facts import Cohort, Rollups
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import Alias, Link, Span
from services.stitcher.journey.touch import Touch
from services.stitcher.ports import Changes, Family, Identifier, Position, Profile, StoredRevocation, TouchpointRow
from shared.identifiers import uid
from shared.tables import Visit


@dataclass
class Tables:
    """What is stored; `MemoryUnit` works on it in place."""

    identifiers: dict[str, Identifier] = field(default_factory=dict)
    component: dict[str, str] = field(default_factory=dict)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    hours: dict[tuple[str, str, int], Span] = field(default_factory=dict)
    aliases: dict[tuple[str, str], Alias] = field(default_factory=dict)
    revocations: dict[UUID, StoredRevocation] = field(default_factory=dict)
    touchpoints: dict[tuple[str, str], TouchpointRow] = field(default_factory=dict)
    profiles: dict[UUID, Profile] = field(default_factory=dict)
    journeys: dict[UUID, tuple[UUID, Journey]] = field(default_factory=dict)  # with all their visits
    blocks: dict[UUID, dict[int, list[Visit]]] = field(default_factory=dict)  # journey -> number of the first -> visits
    rollups: Rollups = field(default_factory=Rollups)
    outbox: list[tuple[UUID, bytes]] = field(default_factory=list)
    clock: int = 0


class MemoryUnit:
    """One transaction on `Tables` (nothing is undone; for one caller at a time)."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    async def fence(self, topic: str, positions: Mapping[int, Position]) -> int:
        return self.tables.clock

    async def lock(self, keys: Iterable[str], unions: Iterable[Sequence[str]]) -> dict[str, Identifier]:
        tables, found = self.tables, {}
        for key in sorted(keys):
            new = key not in tables.identifiers
            if new:
                tables.identifiers[key] = Identifier(key, uid(key), 0, False)
                tables.component[key] = key
            found[key] = replace(tables.identifiers[key], new=new)
        for group in unions:
            names = {tables.component[key] for key in group}
            for key, name in tables.component.items():
                if name in names:
                    tables.component[key] = min(names)
        return found

    async def links_up(
        self, lowers: Iterable[str], pairs: Iterable[tuple[str, str]], shared_above: int
    ) -> tuple[dict[str, Identifier], list[Link]]:
        found = self._upwards(set(lowers), shared_above)
        found |= {pair: self.tables.links[pair] for pair in pairs if pair in self.tables.links}
        met = {key for pair in found for key in pair}
        return {key: self.tables.identifiers[key] for key in met}, list(found.values())

    def _upwards(self, keys: set[str], shared_above: int) -> dict[tuple[str, str], Link]:
        found: dict[tuple[str, str], Link] = {}
        todo, done = set(keys), set()
        while todo:
            key = todo.pop()
            if key in done or key not in self.tables.identifiers:
                continue
            done.add(key)
            if self.tables.identifiers[key].degree > shared_above:
                continue
            for pair, link in self.tables.links.items():
                if pair[0] == key:
                    found[pair] = link
                    todo.add(pair[1])
        return found

    async def hours(self, lowers: Iterable[str]) -> dict[tuple[str, str, int], Span]:
        wanted = set(lowers)
        return {name: span for name, span in self.tables.hours.items() if name[0] in wanted}

    async def aliases(self, users: Iterable[str]) -> list[Alias]:
        components = {self.tables.component[user] for user in users if user in self.tables.component}
        return [alias for pair, alias in self.tables.aliases.items() if self.tables.component[pair[0]] in components]

    async def family(self, keys: Iterable[str], shared_above: int) -> Family:
        tables, seeds = self.tables, {key for key in keys if key in self.tables.identifiers}
        for alias in await self.aliases([key for key in seeds if tables.identifiers[key].aliased]):
            seeds |= {alias.a, alias.b}
        found, todo = set(), set(seeds)
        while todo:
            key = todo.pop()
            if key in found:
                continue
            found.add(key)
            for lower, higher in tables.links:
                if higher == key and tables.identifiers[lower].degree <= shared_above:
                    todo.add(lower)
        links = self._upwards(found, shared_above)
        found |= {key for pair in links for key in pair}
        return Family({key: tables.identifiers[key] for key in found}, list(links.values()))

    async def revocations(self, ids: Iterable[UUID], pairs: Iterable[tuple[str, str]]) -> dict[UUID, StoredRevocation]:
        ids, named = set(ids), set(pairs)
        return {i: r for i, r in self.tables.revocations.items() if i in ids or (r.lower, r.higher) in named}

    async def insert_touchpoints(
        self, given: Sequence[Touch | TouchpointRow], suspects: Iterable[tuple[str, str]]
    ) -> list[TouchpointRow]:
        already = []
        for one in given:
            if known := self.tables.touchpoints.get((one.key, one.id)):
                already.append(known)
            else:
                await self.replace_touchpoints([one])
        return already

    async def replace_touchpoints(self, given: Sequence[Touch | TouchpointRow]) -> None:
        for one in given:
            row = TouchpointRow(one.key, one.id, one.time, one.received_at, one.carries_traits, one.data)
            self.tables.touchpoints[row.key, row.id] = row

    async def touchpoints(self, since: Mapping[str, int | None]) -> list[TouchpointRow]:
        return [
            row for row in self.tables.touchpoints.values()
            if row.key in since and row.time >= (since[row.key] or 0)
        ]  # fmt: skip

    async def trait_touchpoints(self, keys: Iterable[str]) -> list[TouchpointRow]:
        wanted = set(keys)
        return [row for row in self.tables.touchpoints.values() if row.key in wanted and row.carries_traits]

    async def profiles(self, ids: Iterable[UUID]) -> dict[UUID, Profile]:
        return {id_: self.tables.profiles[id_] for id_ in ids if id_ in self.tables.profiles}

    async def journeys(self, ids: Iterable[UUID], *, whole: bool = False) -> dict[UUID, tuple[UUID, Journey]]:
        found = {id_: self._read(id_) for id_ in ids if id_ in self.tables.journeys}
        for _, journey in () if whole else found.values():
            journey.visits, journey.first = journey.tail, journey.sealed
        return found

    async def journeys_of(self, profiles: Iterable[UUID]) -> list[tuple[UUID, Journey]]:
        wanted = set(profiles)
        found = [self._read(id_) for id_, (owner, _) in self.tables.journeys.items() if owner in wanted]
        return sorted(found, key=lambda row: row[1].started_at)

    def _read(self, id_: UUID) -> tuple[UUID, Journey]:
        """As it comes from the table: what a deadline closed may go on."""
        owner, journey = copy.deepcopy(self.tables.journeys[id_])
        if not journey.early:
            journey.closed_at = None
        return owner, journey

    async def write(self, changes: Changes) -> None:
        tables = self.tables
        for key, profile in changes.profile_of.items():
            tables.identifiers[key] = replace(tables.identifiers[key], profile=profile)
        for key, degree in changes.degrees.items():
            tables.identifiers[key] = replace(tables.identifiers[key], degree=degree)
        for key in changes.aliased:
            tables.identifiers[key] = replace(tables.identifiers[key], aliased=True)
        for pair, link in changes.links.items():
            known = tables.links.get(pair)
            tables.links[pair] = link if known is None else replace(link, span=known.span.merged(link.span))
        for name, span in changes.hours.items():
            seen = tables.hours.get(name)
            tables.hours[name] = span if seen is None else seen.merged(span)
        tables.aliases |= changes.aliases
        tables.revocations |= changes.revocations
        tables.profiles |= changes.profiles
        for id_ in changes.gone:
            del tables.journeys[id_]
            tables.blocks.pop(id_, None)
        for id_, sealed in changes.unsealed.items():
            tables.blocks[id_] = {n: block for n, block in tables.blocks[id_].items() if n < sealed}
        for id_, (owner, journey) in copy.deepcopy(changes.journeys).items():
            blocks = tables.blocks.setdefault(id_, {})
            for first, visits in journey.seal():
                assert first not in blocks, "a block is written once"
                blocks[first] = visits
            journey.visits = [*chain.from_iterable(visits for _, visits in sorted(blocks.items())), *journey.tail]
            journey.first = 0
            tables.journeys[id_] = (owner, journey)
        tables.outbox += changes.outbox
        for cell, delta in changes.rollups.cohort.items():
            row = tables.rollups.cohort.setdefault(cell, Cohort([0] * len(delta.counts)))
            row.counts = [a + b for a, b in zip(row.counts, delta.counts, strict=True)]
            row.value, row.restated = row.value + delta.value, row.restated + delta.restated
        for flow, n in changes.rollups.flow.items():
            tables.rollups.flow[flow] = tables.rollups.flow.get(flow, 0) + n
