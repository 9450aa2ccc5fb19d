"""Every statement of the stitcher's transactions, by name, with a sentence each. Arrays in, rows out, keys sorted.

The connections that run these find rows by index only (`pool.py`), so none of them may depend on a sequential scan.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from services.stitcher.store.given import Given

# --- The transaction and its fence -----------------------------------------------------------------------------------

# Joins those who stitch; false while a replay has everything to itself.
JOIN: Final = "select pg_try_advisory_xact_lock_shared($1)"

# Moves a topic's offsets, all of them or fewer rows come back; and what the clock says.
FENCE: Final = """
    update partitions p
    set next_offset = g.next, end_offset = g.end_offset, updated_at = $7,
        as_of = greatest(p.as_of, g.as_of)
    from unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $8::bigint[])
        as g(partition, epoch, expected, next, end_offset, as_of)
    where p.topic = $1 and p.partition = g.partition and p.epoch = g.epoch and p.next_offset = g.expected
    returning (select now from clock)
"""

# What the clock says.
CLOCK: Final = "select now from clock"

# Takes partitions over: a new epoch each, and where to go on.
CLAIM: Final = """
    insert into partitions (topic, partition, epoch, owner, updated_at)
    select $1, g.partition, 1, $3, $4 from unnest($2::int[]) as g(partition) order by g.partition
    on conflict (topic, partition) do update
    set epoch = partitions.epoch + 1, owner = excluded.owner, updated_at = excluded.updated_at
    returning partition, epoch, next_offset
"""

# A row for each partition of a topic, so that the least of all their as_of is honest from the start.
PREPARE: Final = """
    insert into partitions (topic, partition) select $1, n from generate_series(0, $2::int - 1) n
    on conflict (topic, partition) do nothing
"""

# The clock's one row.
PREPARE_CLOCK: Final = "insert into clock (now) values (0) on conflict (one) do nothing"

# Where partitions stand now.
POSITIONS: Final = (
    "select partition, epoch, next_offset from partitions where topic = $1 and partition = any($2::int[])"
)

# --- Identifiers and their components --------------------------------------------------------------------------------

# Identifiers by uid.
IDENTIFIERS: Final = "select uid, key, component, profile, degree, aliased from identifiers where uid = any($1::uuid[])"

# The components of those identifiers that are there.
COMPONENTS: Final = "select uid, component from identifiers where uid = any($1::uuid[])"

# Adds those that nobody has added yet; answers which they are.
INSERT_IDENTIFIERS: Final = Given(
    "identifiers",
    "uid uuid, key text, component uuid",
    """
    insert into identifiers (uid, key, component, profile)
    select uid, key, component, uid from {given}
    on conflict (uid) do nothing
    returning uid
    """,
)

# Locks components, the rows whose uid they are, in the one order that all keep to; answers them as they are then.
LOCK_COMPONENTS: Final = f"{IDENTIFIERS} order by uid for update"

# How many identifiers a component has, counted no further than a thousand.
COMPONENT_SIZES: Final = """
    select c, (select count(*) from (select from identifiers where component = c limit 1000) as counted)
    from unnest($1::uuid[]) as g(c)
"""

# Makes components part of others.
UNITE_COMPONENTS: Final = """
    update identifiers i set component = m.winner
    from (
        select member.uid, g.winner
        from unnest($1::uuid[], $2::uuid[]) as g(loser, winner)
        cross join lateral (select uid from identifiers where component = g.loser offset 0) member
    ) m
    where i.uid = m.uid
"""

# What identifiers climb to, how many higher ones they have, whether an alias names them; null leaves it.
UPDATE_IDENTIFIERS: Final = Given(
    "identities",
    "uid uuid, profile uuid, degree int, aliased bool",
    """
    update identifiers i
    set profile = coalesce(given.profile, i.profile), degree = coalesce(given.degree, i.degree),
        aliased = i.aliased or given.aliased
    from {given}
    where i.uid = given.uid
    """,
)

# --- Evidence --------------------------------------------------------------------------------------------------------

# These very links.
LINKS: Final = """
    select l.lower, l.higher, l.earliest, l.earliest_id, l.latest, l.latest_id, l.revoked
    from unnest($1::uuid[], $2::uuid[]) as g(lower, higher)
    cross join lateral (select * from links l where l.lower = g.lower and l.higher = g.higher offset 0) l
"""

# What lies directly below these identifiers. (Why the store climbs and descends step by step: a recursive query
# reserves memory for all that the planner fears it might find, and that takes ten times as long as finding it.)
BELOW: Final = "select distinct lower from links where higher = any($1::uuid[])"

# All links of these lower identifiers.
LINKS_OF: Final = """
    select lower, higher, earliest, earliest_id, latest, latest_id, revoked from links where lower = any($1::uuid[])
"""

# The evidence of these lower identifiers, hour by hour.
HOURS: Final = """
    select lower, higher, hour, earliest, earliest_id, latest, latest_id from link_hours where lower = any($1::uuid[])
"""

# All aliases of the groups that these user ids are in, revoked ones too.
ALIASES: Final = """
    with recursive members(uid) as (
        select * from unnest($1::uuid[])
        union
        select other.uid
        from members cross join lateral (
            select b as uid from aliases where a = members.uid
            union all
            select a from aliases where b = members.uid
        ) other
    )
    select ia.key, ib.key, al.time, al.touchpoint_id, al.revoked
    from members
    join aliases al on al.a = members.uid
    join identifiers ia on ia.uid = al.a
    join identifiers ib on ib.uid = al.b
"""

# A revocation and its withdrawal may come to two workers at a time: one waits until the other has committed.
ALONE_WITH_REVOCATIONS: Final = """
    select pg_advisory_xact_lock(hashtextextended(id::text, 0)) from unnest($1::uuid[]) with ordinality as g(id, place)
    order by place
"""

# Revocations by id, and all that name one of these pairs.
REVOCATIONS: Final = """
    select r.id, r.kind, low.key, high.key, r.reason, r.revoked_at, r.withdrawn_at
    from (
        select * from revocations where id = any($1::uuid[])
        union
        select named.* from unnest($2::uuid[], $3::uuid[]) as g(lower, higher)
        cross join lateral (
            select * from revocations where lower = g.lower and higher = g.higher offset 0
        ) named
    ) r
    left join identifiers low on low.uid = r.lower
    left join identifiers high on high.uid = r.higher
"""

# Sums evidence up: the earliest and the latest, of equal times the smaller touchpoint id.
_MERGE = """
    earliest = case when (excluded.earliest, excluded.earliest_id) < ({0}.earliest, {0}.earliest_id)
        then excluded.earliest else {0}.earliest end,
    earliest_id = case when (excluded.earliest, excluded.earliest_id) < ({0}.earliest, {0}.earliest_id)
        then excluded.earliest_id else {0}.earliest_id end,
    latest = case when (-excluded.latest, excluded.latest_id) < (-{0}.latest, {0}.latest_id)
        then excluded.latest else {0}.latest end,
    latest_id = case when (-excluded.latest, excluded.latest_id) < (-{0}.latest, {0}.latest_id)
        then excluded.latest_id else {0}.latest_id end"""

# Adds links, merging what is known of them; whether they are revoked is as given.
MERGE_LINKS: Final = Given(
    "links",
    "lower uuid, higher uuid, earliest bigint, earliest_id text, latest bigint, latest_id text, revoked bool",
    f"""
    insert into links (lower, higher, earliest, earliest_id, latest, latest_id, revoked)
    select * from {{given}}
    on conflict (lower, higher) do update set revoked = excluded.revoked, {_MERGE.format("links")}
    """,
)

# Adds evidence, merging what is known of the hour.
MERGE_HOURS: Final = Given(
    "hours",
    "lower uuid, higher uuid, hour bigint, earliest bigint, earliest_id text, latest bigint, latest_id text",
    f"""
    insert into link_hours (lower, higher, hour, earliest, earliest_id, latest, latest_id)
    select * from {{given}}
    on conflict (lower, higher, hour) do update set {_MERGE.format("link_hours")}
    """,
)

# Adds aliases; the earliest evidence stays, whether they are revoked is as given.
MERGE_ALIASES: Final = """
    insert into aliases (a, b, time, touchpoint_id, revoked)
    select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bool[])
    on conflict (a, b) do update set
        revoked = excluded.revoked,
        time = case when (excluded.time, excluded.touchpoint_id) < (aliases.time, aliases.touchpoint_id)
            then excluded.time else aliases.time end,
        touchpoint_id = case when (excluded.time, excluded.touchpoint_id) < (aliases.time, aliases.touchpoint_id)
            then excluded.touchpoint_id else aliases.touchpoint_id end
"""

# Stores revocations as they stand.
UPSERT_REVOCATIONS: Final = """
    insert into revocations (id, kind, lower, higher, reason, revoked_at, withdrawn_at)
    select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[])
    on conflict (id) do update set
        kind = excluded.kind, lower = excluded.lower, higher = excluded.higher, reason = excluded.reason,
        revoked_at = excluded.revoked_at, withdrawn_at = excluded.withdrawn_at
"""

# --- Touchpoints -----------------------------------------------------------------------------------------------------

# The touchpoints with these very identifiers and ids.
TOUCHPOINTS: Final = """
    select t.identifier, t.id, t.time, t.received_at, t.traits, t.data
    from unnest($1::uuid[], $2::text[]) as g(identifier, id)
    cross join lateral (
        select * from touchpoints t where t.identifier = g.identifier and t.id = g.id offset 0
    ) t
"""

# Puts the copies that count in the place of those that do not.
REPLACE_TOUCHPOINTS: Final = """
    update touchpoints t set time = g.time, received_at = g.received_at, traits = g.traits, data = g.data
    from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[])
        as g(identifier, id, time, received_at, traits, data)
    where t.identifier = g.identifier and t.id = g.id
"""

# The touchpoints under each identifier from an instant on.
TOUCHPOINTS_SINCE: Final = """
    select t.identifier, t.id, t.time, t.received_at, t.traits, t.data
    from unnest($1::uuid[], $2::bigint[]) as g(identifier, since)
    join touchpoints t on t.identifier = g.identifier and t.time >= g.since
"""

# Those of these identifiers' touchpoints that carry traits.
TRAIT_TOUCHPOINTS: Final = """
    select identifier, id, time, received_at, traits, data from touchpoints
    where identifier = any($1::uuid[]) and traits
"""

# --- Profiles and journeys -------------------------------------------------------------------------------------------

# Profiles by id.
PROFILES: Final = """
    select profile_id, touchpoints, last_time, traits, journeys, sequence from profiles
    where profile_id = any($1::uuid[])
"""

# Stores profiles as they stand. (Why a merge: an upsert logs a lock for each row that it changes, and a confirmation
# for each that it adds. Nobody else adds or changes these: whoever is here has their component locked.)
MERGE_PROFILES: Final = Given(
    "profiles",
    "profile_id uuid, touchpoints int, last_time bigint, traits bytea, journeys bytea, sequence bigint",
    """
    merge into profiles using {given} on profiles.profile_id = given.profile_id
    when matched then update set
        touchpoints = given.touchpoints, last_time = given.last_time, traits = given.traits,
        journeys = given.journeys, sequence = given.sequence
    when not matched then insert (profile_id, touchpoints, last_time, traits, journeys, sequence)
        values (given.profile_id, given.touchpoints, given.last_time, given.traits, given.journeys, given.sequence)
    """,
)

_JOURNEYS = """
    select profile_id, journey_id, map_id, status, stalled, furthest, touchpoints, started_at, last_at, deadline,
        closed_at, closed_early, converted_at, value, channel, acquisition, source, segments, restated, entered,
        visits, sealed, {0} as blocks
    from journeys"""

# All journeys, with their visits that lie in blocks.
JOURNEYS_ALL: Final = _JOURNEYS.format(
    "case when sealed > 0 then array(select b.visits from visit_blocks b"
    " where b.journey_id = journeys.journey_id order by b.first) end"
)

# Journeys by id.
JOURNEYS: Final = f"{_JOURNEYS.format('null::bytea[]')} where journey_id = any($1::uuid[])"

# The same, with their visits that lie in blocks.
WHOLE_JOURNEYS: Final = f"{JOURNEYS_ALL} where journey_id = any($1::uuid[])"

# All journeys of these profiles in these maps, with their visits that lie in blocks.
JOURNEYS_OF: Final = f"{JOURNEYS_ALL} where profile_id = any($1::uuid[]) and map_id = any($2::int[])"

# Stores journeys as they stand. `due_hour` does not follow a deadline that moves on, or every update would have to find
# room in each index; the clock looks too early, and then moves it (POSTPONE).
MERGE_JOURNEYS: Final = Given(
    "journeys",
    "journey_id uuid, profile_id uuid, map_id int, status smallint, stalled bool, stage smallint, "
    "furthest smallint, entered text, touchpoints int, started_at bigint, last_at bigint, deadline bigint, "
    "closed_at bigint, closed_early bool, converted_at bigint, value text, channel text, acquisition text, "
    "source text, segments text, restated bool, due_at bigint, visits bytea, sealed int",
    """
    merge into journeys using {given} on journeys.journey_id = given.journey_id
    when matched then update set
        profile_id = given.profile_id, status = given.status, stalled = given.stalled,
        stage = given.stage, furthest = given.furthest, entered = given.entered::smallint[],
        touchpoints = given.touchpoints, started_at = given.started_at, last_at = given.last_at,
        deadline = given.deadline, closed_at = given.closed_at, closed_early = given.closed_early,
        converted_at = given.converted_at, value = given.value::numeric, channel = given.channel,
        acquisition = given.acquisition, source = given.source, segments = given.segments::text[],
        restated = given.restated, due_at = given.due_at, visits = given.visits, sealed = given.sealed,
        due_hour = case when given.due_at is not null then least(journeys.due_hour, given.due_at / 3600000000) end
    when not matched then insert (
        journey_id, profile_id, map_id, status, stalled, stage, furthest, entered, touchpoints, started_at, last_at,
        deadline, closed_at, closed_early, converted_at, value, channel, acquisition, source, segments, restated,
        due_at, visits, sealed, due_hour)
        values (
        given.journey_id, given.profile_id, given.map_id, given.status, given.stalled, given.stage, given.furthest,
        given.entered::smallint[], given.touchpoints, given.started_at, given.last_at, given.deadline,
        given.closed_at, given.closed_early, given.converted_at, given.value::numeric, given.channel,
        given.acquisition, given.source, given.segments::text[], given.restated, given.due_at, given.visits,
        given.sealed, given.due_at / 3600000000)
    """,
)

# Removes journeys that are no more.
DELETE_JOURNEYS: Final = "delete from journeys where journey_id = any($1::uuid[])"

# What `visit_blocks` are copied into.
BLOCK: Final = ("journey_id", "first", "visits")

# Removes blocks of visits that are no more, or that are to be written again: all from a visit on.
DELETE_BLOCKS: Final = """
    delete from visit_blocks b using unnest($1::uuid[], $2::int[]) as g(journey_id, first)
    where b.journey_id = g.journey_id and b.first >= g.first
"""

# The clock follows the partition that is furthest behind, and never goes back.
ADVANCE_CLOCK: Final = """
    update clock set now = greatest(now, (select min(as_of) from partitions where topic = $1)) returning now
"""

# Journeys that time must look at, those that have waited longest first.
DUE: Final = """
    select journey_id, profile_id from journeys
    where due_hour is not null and due_hour <= $1 and due_at < $2 and map_id = any($3::int[])
    order by due_hour
    limit $4
"""

# Moves what the clock has come to too early to the hour at which it is due.
POSTPONE: Final = """
    update journeys set due_hour = due_at / 3600000000
    where journey_id = any(array(
        select journey_id from journeys
        where due_hour is not null and due_hour <= $1 and due_at / 3600000000 > due_hour and due_at >= $2
        order by due_hour
        limit $3
        for update skip locked
    ))
    returning journey_id
"""

# --- Rollups ---------------------------------------------------------------------------------------------------------

# Adds cells that nobody has added yet.
INSERT_CELLS: Final = """
    insert into cells (map_id, segment, channel, acquisition, source)
    select * from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
    on conflict (map_id, segment, channel, acquisition, source) do nothing
"""

# The numbers of cells.
CELLS: Final = """
    select c.cell_id, c.map_id, c.segment, c.channel, c.acquisition, c.source
    from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
        as g(map_id, segment, channel, acquisition, source)
    join cells c on c.map_id = g.map_id and c.segment = g.segment and c.channel = g.channel
        and c.acquisition = g.acquisition and c.source = g.source
"""


@lru_cache(maxsize=256)
def add_cohort(width: int) -> Given:
    """Adds deltas to the cohort rows of maps with this many counts (place by place: the fastest way to add arrays)."""
    counts = ", ".join(f"c.counts[{place}] + excluded.counts[{place}]" for place in range(1, width + 1))
    return Given(
        "cohort",
        "cell_id int, tier smallint, at bigint, counts text, value numeric, restated int",
        f"""
        insert into rollup_cohort as c (cell_id, tier, at, counts, value, restated)
        select cell_id, tier, at, counts::bigint[], value, restated from {{given}}
        on conflict (cell_id, tier, at) do update set
            counts = array[{counts}], value = c.value + excluded.value, restated = c.restated + excluded.restated
        """,
    )


# Removes cohort rows that have come to nothing; the transaction has them locked.
DELETE_EMPTY_COHORT: Final = """
    delete from rollup_cohort where ctid = any(array(
        select empty.ctid from unnest($1::int[], $2::smallint[], $3::bigint[]) as g(cell_id, tier, at)
        cross join lateral (
            select c.ctid from rollup_cohort c
            where c.cell_id = g.cell_id and c.tier = g.tier and c.at = g.at
                and c.value = 0 and c.restated = 0 and 0 = all(c.counts)
            offset 0
        ) empty
    ))
"""

# Adds deltas to the transitions.
ADD_FLOW: Final = Given(
    "flow",
    "cell_id int, tier smallint, at bigint, from_stage smallint, to_stage smallint, bucket smallint, n bigint",
    """
    insert into rollup_flow as f (cell_id, tier, at, from_stage, to_stage, bucket, n)
    select * from {given}
    on conflict (cell_id, tier, at, from_stage, to_stage, bucket) do update set n = f.n + excluded.n
    """,
)

# Removes transitions that have come to nothing; the transaction has them locked.
DELETE_EMPTY_FLOW: Final = """
    delete from rollup_flow where ctid = any(array(
        select empty.ctid
        from unnest($1::int[], $2::smallint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::smallint[])
            as g(cell_id, tier, at, from_stage, to_stage, bucket)
        cross join lateral (
            select f.ctid from rollup_flow f
            where f.cell_id = g.cell_id and f.tier = g.tier and f.at = g.at and f.from_stage = g.from_stage
                and f.to_stage = g.to_stage and f.bucket = g.bucket and f.n = 0
            offset 0
        ) empty
    ))
"""

# --- What leaves, and what failed ------------------------------------------------------------------------------------

# What is still to be published, oldest first.
OUTBOX: Final = "select position, records from outbox order by position limit $1"

# What has been published.
DELETE_OUTBOX: Final = "delete from outbox where position = any($1::bigint[])"

# Keeps records that nothing could be made of, once each, and counts them by reason.
BURY: Final = """
    with buried as (
        insert into dead_letters (at, topic, partition, "offset", source, reason, message, data, received_at, request,
            sealed)
        select $1, $2, g.*
        from unnest($3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bigint[], $10::text[],
            $11::boolean[]) as g
        on conflict (topic, partition, "offset") do nothing
        returning topic, source, reason, octet_length(data) + octet_length(request) as bytes
    )
    insert into dead_letter_counts as c (topic, source, reason, n, kept, bytes)
    select topic, source, reason, count(*), count(*), sum(bytes)
    from buried group by topic, source, reason order by source, reason
    on conflict (topic, source, reason) do update
    set n = c.n + excluded.n, kept = c.kept + excluded.kept, bytes = c.bytes + excluded.bytes
"""

# Takes away some of the oldest dead letters: those older than an instant, and as many as free so many bytes.
# Answers how many went by age and by size. The counts of what is kept follow.
EXPIRE_LETTERS: Final = """
    with oldest as (
        select id, at < $1 as aged,
            sum(octet_length(data) + octet_length(request)) over (order by id)
            - octet_length(data) - octet_length(request) < $2 as surplus
        from dead_letters where id = any(array(select id from dead_letters order by id limit $3))
    ), gone as (
        delete from dead_letters d using oldest o where d.id = o.id and (o.aged or o.surplus)
        returning d.topic, d.source, d.reason, octet_length(d.data) + octet_length(d.request) as bytes, o.aged
    ), counted as (
        update dead_letter_counts c set kept = c.kept - g.n, bytes = c.bytes - g.bytes
        from (
            select topic, source, reason, count(*) as n, sum(bytes) as bytes from gone
            group by topic, source, reason order by topic, source, reason
        ) as g
        where (c.topic, c.source, c.reason) = (g.topic, g.source, g.reason)
    )
    select count(*) filter (where aged), count(*) filter (where not aged) from gone
"""

# What the dead letters that are kept hold.
KEPT_BYTES: Final = "select coalesce(sum(bytes), 0)::bigint from dead_letter_counts"

# --- Sweeping --------------------------------------------------------------------------------------------------------

# Transitions of a short-lived tier, older than it keeps.
SWEEP_FLOW: Final = """
    delete from rollup_flow f using cells c where f.cell_id = c.cell_id and f.tier = $1 and f.at < $2
"""

# Up to where nobody needs the embedded log's batches any more: what is stitched, and what is published (who follows the
# changes follows them live).
READ_UP_TO: Final = """
    select topic, partition, next_offset from partitions where topic = any($1::text[])
    union all
    select topic, partition, next_offset from log_partitions where topic = $2
"""

# All statements that take rows; each connection has their temporary tables.
GIVEN: Final = (
    INSERT_IDENTIFIERS, UPDATE_IDENTIFIERS, MERGE_LINKS, MERGE_HOURS, MERGE_PROFILES, MERGE_JOURNEYS,
    add_cohort(1), ADD_FLOW,
)  # fmt: skip
