"""Profiles: who an identifier is, what is known of him, and the touchpoints and links that say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from services.metrics.analysis.ladder import Evidence, Joined, Ladder
from services.metrics.reader.database import Snapshot
from shared.identifiers import IdentityRules, uid

MOST_IDENTIFIERS: Final = 1000

# The profile that an id stands for: its own if it has touchpoints, else the one that its identifier climbs to now.
PROFILE = """
    select p.profile_id, root.key as root, p.touchpoints, p.last_time, p.traits
    from (
        select profile_id, 0 as place from profiles where profile_id = $1 and $2
        union all
        select profile, 1 from identifiers where uid = $1
    ) found
    join profiles p on p.profile_id = found.profile_id
    join identifiers root on root.uid = p.profile_id
    where p.touchpoints > 0
    order by found.place
    limit 1
"""

# The identifiers that climb to a profile now.
IDENTIFIERS = "select key from identifiers where profile = $1 order by key limit $2"

# All identifiers that climb to a root at one time or another: down every link that counts, not through shared ones.
FAMILY = """
    with recursive family(uid) as (
        select $1::uuid
        union
        select below.uid
        from family cross join lateral (
            select links.lower as uid from links
            join identifiers i on i.uid = links.lower and i.degree <= $2
            where links.higher = family.uid and not links.revoked
            union all
            select b from aliases where a = family.uid and not revoked
            union all
            select a from aliases where b = family.uid and not revoked
        ) below
    )
    select uid, key from family join identifiers using (uid)
"""

# Every link that counts from these identifiers upwards; shared ones are climbed no further.
LINKS_UP = """
    with recursive climbed(uid) as (
        select * from unnest($1::uuid[])
        union
        select links.higher
        from climbed
        join identifiers i on i.uid = climbed.uid and i.degree <= $2
        join links on links.lower = climbed.uid and not links.revoked
    )
    select links.lower, links.higher, low.key as lower_key, high.key as higher_key,
           earliest, earliest_id, latest, latest_id, low.degree
    from climbed
    join identifiers low on low.uid = climbed.uid and low.degree <= $2
    join links on links.lower = climbed.uid and not links.revoked
    join identifiers high on high.uid = links.higher
"""

# The evidence by the hour of identifiers that link to several others.
LINK_HOURS = """
    select low.key as lower_key, high.key as higher_key, h.earliest, h.earliest_id, h.latest, h.latest_id
    from unnest($1::uuid[], $2::uuid[]) as pair(lower, higher)
    join link_hours h on h.lower = pair.lower and h.higher = pair.higher
    join identifiers low on low.uid = pair.lower
    join identifiers high on high.uid = pair.higher
"""

# The aliases that count in the groups of these user ids.
ALIASES = """
    with recursive joined(uid) as (
        select * from unnest($1::uuid[])
        union
        select other.uid
        from joined cross join lateral (
            select b as uid from aliases where a = joined.uid and not revoked
            union all
            select a from aliases where b = joined.uid and not revoked
        ) other
    )
    select one.key as a, two.key as b, aliases.time, aliases.touchpoint_id
    from joined
    join aliases on aliases.a = joined.uid and not aliases.revoked
    join identifiers one on one.uid = aliases.a
    join identifiers two on two.uid = aliases.b
"""

# The touchpoints of the given spans of time under each identifier, the latest first.
TOUCHPOINTS = """
    select t.identifier, i.key, t.id, t.time, t.received_at, t.data
    from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as span(identifier, since, until)
    join touchpoints t on t.identifier = span.identifier and t.time >= span.since and t.time < span.until
    join identifiers i on i.uid = t.identifier
    where $4::bigint is null or (t.time, t.id, t.identifier) < ($4, $5::text collate "C", $6::uuid)
    order by t.time desc, t.id collate "C" desc, t.identifier desc
    limit $7
"""

# Links and aliases of these identifiers, revoked ones too, in the order in which they were first seen.
LINKS = """
    select * from (
        select 'link' as kind, lower as one, higher as two, earliest, earliest_id, latest, latest_id, revoked
        from links where lower = any($1::uuid[]) or higher = any($1::uuid[])
        union all
        select 'alias', a, b, time, touchpoint_id, time, touchpoint_id, revoked
        from aliases where a = any($1::uuid[]) or b = any($1::uuid[])
    ) found
    join lateral (select key as one_key, degree as one_degree from identifiers where uid = found.one) low on true
    join lateral (select key as two_key from identifiers where uid = found.two) high on true
    where $2::bigint is null or (earliest, kind, one, two) > ($2, $3::text, $4::uuid, $5::uuid)
    order by earliest, kind, one, two
    limit $6
"""

# Why these pairs are revoked.
REASONS = """
    select pair.lower, pair.higher, string_agg(r.reason, '; ' order by r.revoked_at, r.id) as reason
    from unnest($1::uuid[], $2::uuid[]) as pair(lower, higher)
    join revocations r on r.lower = pair.lower and r.higher = pair.higher
    where r.revoked_at is not null and r.withdrawn_at is null
    group by 1, 2
"""

_traits = msgspec.msgpack.Decoder(dict[str, tuple[int, str, Any]])


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A profile; ``root`` is the identifier that names it, ``last_time`` in microseconds."""

    profile_id: UUID
    root: str
    touchpoints: int
    last_time: int
    traits: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TouchpointRow:
    """A touchpoint under the identifier that it came with; ``data`` are its bytes on the log."""

    identifier: UUID
    key: str
    id: str
    time: int
    received_at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link from ``one`` up to ``two``, or an alias of the two."""

    kind: str
    one: UUID
    two: UUID
    one_key: str
    two_key: str
    one_degree: int
    earliest: int
    earliest_id: str
    latest: int
    latest_id: str
    revoked: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class TouchpointAfter:
    """Where a page of touchpoints begins."""

    time: int
    id: str
    identifier: UUID


@dataclass(frozen=True, slots=True)
class LinkAfter:
    """Where a page of links begins."""

    earliest: int
    kind: str
    one: UUID
    two: UUID


async def profile(snapshot: Snapshot, of: UUID, is_profile_id: bool) -> ProfileRow | None:
    """The profile of an identifier's uid, or of a profile id (its own first)."""
    rows = await snapshot.fetch(PROFILE, of, is_profile_id)
    if not rows:
        return None
    [row] = rows
    traits = {key: value for key, (_, _, value) in sorted(_traits.decode(row["traits"]).items())}
    return ProfileRow(row["profile_id"], row["root"], row["touchpoints"], row["last_time"], traits)


async def identifiers(snapshot: Snapshot, profile_id: UUID) -> list[str]:
    """The keys that climb to a profile now, at most MOST_IDENTIFIERS."""
    return [row["key"] for row in await snapshot.fetch(IDENTIFIERS, profile_id, MOST_IDENTIFIERS)]


async def family(snapshot: Snapshot, root: UUID, rules: IdentityRules) -> dict[str, UUID]:
    """All identifiers that some of a profile's touchpoints can have come with, by key."""
    rows = await snapshot.fetch(FAMILY, root, rules.shared_above)
    return {row["key"]: row["uid"] for row in rows}


async def ladder(snapshot: Snapshot, members: Iterable[UUID], rules: IdentityRules) -> Ladder:
    """What these identifiers are climbed by."""
    rows = await snapshot.fetch(LINKS_UP, list(members), rules.shared_above)
    several = [row for row in rows if row["degree"] > 1]
    hours = await snapshot.fetch(LINK_HOURS, [row["lower"] for row in several], [row["higher"] for row in several])
    users = {row["higher"] for row in rows if row["higher_key"].startswith("user_id:")} | set(members)
    aliases = await snapshot.fetch(ALIASES, list(users))
    spans = hours + [row for row in rows if row["degree"] <= 1]
    return Ladder(rules, (one for row in spans for one in _evidence(row)), (Joined(**dict(row)) for row in aliases))


def _evidence(row: Any) -> tuple[Evidence, Evidence]:
    lower, higher = row["lower_key"], row["higher_key"]
    return (
        Evidence(lower, higher, row["earliest"], row["earliest_id"]),
        Evidence(lower, higher, row["latest"], row["latest_id"]),
    )


async def touchpoints(
    snapshot: Snapshot, spans: Sequence[tuple[UUID, int, int]], after: TouchpointAfter | None, limit: int
) -> list[TouchpointRow]:
    """One page of the touchpoints of these (identifier, since, until)."""
    place = (after.time, after.id, after.identifier) if after else (None, None, None)
    columns = ([span[part] for span in spans] for part in range(3))
    return [TouchpointRow(**dict(row)) for row in await snapshot.fetch(TOUCHPOINTS, *columns, *place, limit)]


async def links(snapshot: Snapshot, members: Sequence[UUID], after: LinkAfter | None, limit: int) -> list[LinkRow]:
    """One page of the links and aliases of these identifiers."""
    place = (after.earliest, after.kind, after.one, after.two) if after else (None, None, None, None)
    rows = await snapshot.fetch(LINKS, list(members), *place, limit)
    revoked = [row for row in rows if row["revoked"]]
    reasons = await snapshot.fetch(REASONS, [row["one"] for row in revoked], [row["two"] for row in revoked])
    why = {(row["lower"], row["higher"]): row["reason"] for row in reasons}
    return [LinkRow(**dict(row), reason=why.get((row["one"], row["two"]))) for row in rows]


def uids(keys: Iterable[str]) -> list[UUID]:
    """The ids of identifiers."""
    return [uid(key) for key in keys]
