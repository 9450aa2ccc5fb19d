"""What stitching needs of the outside world: one unit of work, one transaction.

Keys are ``kind:value`` strings; the adapter turns them into uids (`shared.identifiers.uid`) and back. Instants are
microseconds since 1970 UTC. Nothing here decides anything: the rules are in `journey/`, the order of the calls in
`stitching.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import msgspec

from services.stitcher.journey.facts import Rollups
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import Alias, Link, Span
from services.stitcher.journey.touch import Touch


class Identifier(msgspec.Struct, frozen=True, gc=False):
    """A row of `identifiers`. ``new``: this transaction inserted it, so nothing else can hang on it yet."""

    key: str
    profile: UUID
    degree: int
    aliased: bool
    new: bool = False


@dataclass(frozen=True, slots=True)
class StoredRevocation:
    """A row of `revocations`; ``lower`` and ``higher`` are None while only its withdrawal has arrived."""

    id: UUID
    kind: str | None
    lower: str | None
    higher: str | None
    reason: str
    revoked_at: int | None
    withdrawn_at: int | None


class TouchpointRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `touchpoints`; ``key`` is that of its identifier, ``data`` are the record's bytes."""

    key: str
    id: str
    time: int
    received_at: int
    carries_traits: bool
    data: bytes


class Profile(msgspec.Struct, gc=False):
    """A row of `profiles`; ``traits`` is {key: (time, id, value)}, ``journeys`` {map_id: journey_id} (the last one)."""

    profile_id: UUID
    key: str
    touchpoints: int
    last_time: int
    traits: dict[str, tuple[int, str, Any]]
    journeys: dict[int, UUID]
    sequence: int


@dataclass(frozen=True, slots=True)
class Family:
    """Identifiers and all links among them."""

    identifiers: dict[str, Identifier]
    links: list[Link]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands: compare-and-set from ``expected`` to ``next`` under ``epoch``."""

    epoch: int
    expected: int
    next: int
    end: int
    as_of: int | None = None  # None: leave it


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that nothing could be made of, and where it lay on the log. What ingest rejected has the instant of its
    reception in microseconds, and what is kept of its request; ``sealed``: that and the data can be read with a key."""

    partition: int
    offset: int
    source: str
    reason: str
    message: str
    data: bytes
    received_at: int | None = None
    request: str = ""
    sealed: bool = False


@dataclass(slots=True)
class Changes:
    """All that one batch writes, apart from new touchpoints and identifiers, which are written as they are met."""

    profile_of: dict[str, UUID] = field(default_factory=dict)  # identifier key -> what it climbs to now
    degrees: dict[str, int] = field(default_factory=dict)
    aliased: set[str] = field(default_factory=set)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)  # merged into what is there; `revoked` as given
    hours: dict[tuple[str, str, int], Span] = field(default_factory=dict)  # (lower, higher, hour start): merged
    aliases: dict[tuple[str, str], Alias] = field(default_factory=dict)  # earliest (time, id) wins; `revoked` as given
    revocations: dict[UUID, StoredRevocation] = field(default_factory=dict)
    profiles: dict[UUID, Profile] = field(default_factory=dict)
    journeys: dict[UUID, tuple[UUID, Journey]] = field(default_factory=dict)  # journey_id -> (profile_id, journey)
    due: dict[UUID, int | None] = field(default_factory=dict)  # of ``journeys``: when the clock must look; None: never
    gone: set[UUID] = field(default_factory=set)  # journeys to delete
    unsealed: dict[UUID, int] = field(default_factory=dict)  # journey_id -> how many visits may stay in their blocks
    rollups: Rollups = field(default_factory=Rollups)
    outbox: list[tuple[UUID, bytes]] = field(default_factory=list)  # (profile_id, record), in order


class Unit(Protocol):
    """One transaction. Commits when its context ends without an exception, else nothing of it happened."""

    async def fence(self, topic: str, positions: Mapping[int, Position]) -> int:
        """Moves the offsets, or raises Stale if a row is not as expected. Answers the clock's instant."""

    async def lock(self, keys: Iterable[str], unions: Iterable[Sequence[str]]) -> dict[str, Identifier]:
        """Inserts what is missing of ``keys``, locks their components in sorted order (again, until what was read is
        what is locked), then makes one component of each group in ``unions``. Answers all of ``keys``."""

    async def links_up(
        self, lowers: Iterable[str], pairs: Iterable[tuple[str, str]], shared_above: int
    ) -> tuple[dict[str, Identifier], list[Link]]:
        """All links of these lowers and, climbing, of what they link to, leaving out the links of shared ones
        (degree above); and these very (lower, higher) pairs, whatever the degree. Also the identifiers met."""

    async def hours(self, lowers: Iterable[str]) -> dict[tuple[str, str, int], Span]:
        """The evidence by hour of these lowers."""

    async def aliases(self, users: Iterable[str]) -> list[Alias]:
        """All aliases within the components of these user ids."""

    async def family(self, keys: Iterable[str], shared_above: int) -> Family:
        """``keys`` with the whole alias groups of those that have one; all identifiers below them, not entering a
        shared one on the way down unless it is one of ``keys``; then, upwards, every link of everything found so far
        and what those link to: no link of an unshared member is left out, so that each can be climbed from."""

    async def revocations(self, ids: Iterable[UUID], pairs: Iterable[tuple[str, str]]) -> dict[UUID, StoredRevocation]:
        """Those with these ids, and all that name one of these pairs (lower, higher; of an alias: smaller, larger)."""

    async def insert_touchpoints(
        self, given: Sequence[Touch | TouchpointRow], suspects: Iterable[tuple[str, str]]
    ) -> list[TouchpointRow]:
        """Stores those that are new by (key, id). Answers the rows already there for the others. Only the
        ``suspects`` are looked for, unless it turns out that one of the others was there too. Whoever calls has their
        identifiers locked, so that nobody else is adding the same."""

    async def replace_touchpoints(self, given: Sequence[Touch | TouchpointRow]) -> None:
        """Overwrites by (key, id)."""

    async def touchpoints(self, since: Mapping[str, int | None]) -> list[TouchpointRow]:
        """The touchpoints under each identifier from an instant on (None: all)."""

    async def trait_touchpoints(self, keys: Iterable[str]) -> list[TouchpointRow]:
        """Those of them that carry traits."""

    async def profiles(self, ids: Iterable[UUID]) -> dict[UUID, Profile]: ...

    async def journeys(self, ids: Iterable[UUID], *, whole: bool = False) -> dict[UUID, tuple[UUID, Journey]]:
        """By journey id: (profile_id, journey); unless ``whole``, without the visits that lie in blocks."""

    async def journeys_of(self, profiles: Iterable[UUID]) -> list[tuple[UUID, Journey]]:
        """All journeys of these profiles, of all live maps, by start; whole."""

    async def write(self, changes: Changes) -> None:
        """Everything else, rows of each table in sorted order; rollup cells last."""
