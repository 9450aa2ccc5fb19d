"""The tables, as SQLAlchemy declares them: what the stitcher writes and the metrics service reads.

Instants are ``bigint`` microseconds since 1970-01-01 UTC, here and in all that is packed; money is in millionths.
``position`` is a stage's place in its map, 0 first; -1 stands for "no stage". Strings that order things are
compared by code point (collation C). What the numbers mean stands in shared/tables.py.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = MetaData()
_C = Text(collation="C")

# --- Identity --------------------------------------------------------------------------------------------------------

identifiers = Table(
    "identifiers",
    metadata,
    Column("uid", UUID, primary_key=True),  # shared.identifiers.uid(key)
    Column("key", _C, nullable=False),  # kind:value
    Column("component", UUID, nullable=False),  # the uid whose row is locked for all that is connected
    Column("profile", UUID, nullable=False),  # what it climbs to after all its evidence
    Column("degree", Integer, nullable=False, server_default="0"),  # different higher identifiers, revoked ones aside
    Column("aliased", Boolean, nullable=False, server_default="false"),  # has ever been in an alias
    Index("identifiers_component", "component"),
    Index("identifiers_profile", "profile"),
    postgresql_with={"fillfactor": "80"},
)

links = Table(  # one row a pair: evidence summed up, and whether it is revoked
    "links",
    metadata,
    Column("lower", UUID, primary_key=True),
    Column("higher", UUID, primary_key=True),
    Column("earliest", BigInteger, nullable=False),
    Column("earliest_id", _C, nullable=False),  # the touchpoint that says so
    Column("latest", BigInteger, nullable=False),
    Column("latest_id", _C, nullable=False),
    Column("revoked", Boolean, nullable=False, server_default="false"),
    Index("links_higher", "higher"),
    postgresql_with={"fillfactor": "80"},
)

link_hours = Table(  # the evidence itself: one row a pair and UTC hour
    "link_hours",
    metadata,
    Column("lower", UUID, primary_key=True),
    Column("higher", UUID, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("earliest", BigInteger, nullable=False),
    Column("earliest_id", _C, nullable=False),
    Column("latest", BigInteger, nullable=False),
    Column("latest_id", _C, nullable=False),
    postgresql_with={"fillfactor": "80"},
)

aliases = Table(  # two user ids joined for all time; a < b by key
    "aliases",
    metadata,
    Column("a", UUID, primary_key=True),
    Column("b", UUID, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("touchpoint_id", _C, nullable=False),
    Column("revoked", Boolean, nullable=False, server_default="false"),
    Index("aliases_b", "b"),
)

revocations = Table(  # in force while revoked_at is set and withdrawn_at is not
    "revocations",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("kind", Text),  # link or alias; null while only the withdrawal has arrived
    Column("lower", UUID),  # of an alias: the smaller user id
    Column("higher", UUID),
    Column("reason", Text, nullable=False, server_default=""),
    Column("revoked_at", BigInteger),
    Column("withdrawn_at", BigInteger),
    Index("revocations_pair", "lower", "higher"),
)

# --- Touchpoints and profiles ----------------------------------------------------------------------------------------

touchpoints = Table(  # append-only, under the highest identifier they came with: a merge moves no row
    "touchpoints",
    metadata,
    Column("identifier", UUID, primary_key=True),
    Column("id", _C, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("traits", Boolean, nullable=False),  # an identify with traits
    Column("data", LargeBinary, nullable=False),  # the record's bytes as they lay on the log (shared.touchpoint)
    Index("touchpoints_traits", "identifier", postgresql_where=text("traits")),
)

profiles = Table(
    "profiles",
    metadata,
    Column("profile_id", UUID, primary_key=True),  # = the uid of its root identifier
    Column("touchpoints", Integer, nullable=False),  # 0: everything has moved away; then it is not shown
    Column("last_time", BigInteger, nullable=False),
    Column("traits", LargeBinary, nullable=False),  # msgpack {key: [time, id, value]}
    Column("journeys", LargeBinary, nullable=False),  # msgpack {map_id: journey_id}: the last journey of each map
    Column("sequence", BigInteger, nullable=False),  # of the last change told on journeys.changes
    postgresql_with={"fillfactor": "70"},
)

# --- Journeys --------------------------------------------------------------------------------------------------------

map_versions = Table(
    "map_versions",
    metadata,
    Column("map_id", Integer, Identity(), primary_key=True),
    Column("map", _C, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("definition", JSONB, nullable=False),  # JourneyMap.definition()
    Column("live", Boolean, nullable=False),
    Column("live_since", BigInteger, nullable=False),
    UniqueConstraint("map", "version"),
)

journeys = Table(
    "journeys",
    metadata,
    Column("journey_id", UUID, primary_key=True),
    Column("profile_id", UUID, nullable=False),
    Column("map_id", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),  # OPEN, COMPLETED, LOST, as counted in the rollups
    Column("stalled", Boolean, nullable=False),  # open and silent for longer than the stage's stall
    Column("stage", SmallInteger, nullable=False),  # position of the last visit
    Column("furthest", SmallInteger, nullable=False),
    Column("entered", ARRAY(SmallInteger), nullable=False),  # positions visited, sorted, each once
    Column("touchpoints", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("deadline", BigInteger),  # null: never
    Column("closed_at", BigInteger),  # null while open
    Column("closed_early", Boolean, nullable=False),  # by re-entry, before its deadline
    Column("converted_at", BigInteger),
    Column("value", Numeric, nullable=False),  # millionths
    Column("channel", Text, nullable=False),  # of the first touchpoint
    Column("acquisition", Text, nullable=False),  # '' when the touchpoint had none
    Column("source", Text, nullable=False),
    Column("segments", ARRAY(Text), nullable=False),
    # msgpack [Visit], those after the sealed ones, not compressed; read it with strict=False: 2**63 and more is text
    Column("visits", LargeBinary, nullable=False),
    Column("restated", Boolean, nullable=False),  # changed by a late touchpoint or a new link after it was counted
    Column("due_at", BigInteger),  # when the clock must look at it next; null: never
    Column("due_hour", BigInteger),  # an hour since 1970 not after due_at: it may lag, so that the index seldom changes
    Column("sealed", Integer, nullable=False, server_default="0"),  # how many of the visits lie in visit_blocks
    Index("journeys_profile", "profile_id"),
    Index("journeys_started", "map_id", "started_at", "journey_id"),
    Index("journeys_due", "due_hour", postgresql_where=text("due_hour is not null")),
    postgresql_with={"fillfactor": "70"},
)

visit_blocks = Table(  # the visits that journeys.visits has no longer, each block written once
    "visit_blocks",
    metadata,
    Column("journey_id", UUID, primary_key=True),
    Column("first", Integer, primary_key=True),  # the number of its first visit in the journey
    Column("visits", LargeBinary, nullable=False),  # msgpack [Visit], as in journeys
)

# --- Rollups ---------------------------------------------------------------------------------------------------------

cells = Table(  # what the rollups are cut by; segment '' holds every journey, the others those in the segment
    "cells",
    metadata,
    Column("cell_id", Integer, Identity(), primary_key=True),
    Column("map_id", Integer, nullable=False),
    Column("segment", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("acquisition", Text, nullable=False),
    Column("source", Text, nullable=False),
    UniqueConstraint("map_id", "segment", "channel", "acquisition", "source"),
)

rollup_cohort = Table(  # by the hour the journey began; HOUR_TIER and DAY_TIER
    "rollup_cohort",
    metadata,
    Column("cell_id", Integer, primary_key=True),
    Column("tier", SmallInteger, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("counts", ARRAY(BigInteger), nullable=False),  # by CohortLayout
    Column("value", Numeric, nullable=False),  # millionths
    Column("restated", Integer, nullable=False),
    postgresql_with={"fillfactor": "60"},
)

rollup_flow = Table(  # transitions by the time they happened; all four tiers
    "rollup_flow",
    metadata,
    Column("cell_id", Integer, primary_key=True),
    Column("tier", SmallInteger, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("from_stage", SmallInteger, primary_key=True),  # START for a journey's start
    Column("to_stage", SmallInteger, primary_key=True),  # TO_COMPLETED or TO_LOST for its end
    Column("bucket", SmallInteger, primary_key=True),  # of the time spent in from_stage; NO_BUCKET where none is kept
    Column("n", BigInteger, nullable=False),
    postgresql_with={"fillfactor": "80"},
)

# --- The log's positions, what leaves, what failed -------------------------------------------------------------------

partitions = Table(  # the fence and the offsets of the stitcher, per topic it reads
    "partitions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("owner", Text, nullable=False, server_default=""),
    Column("next_offset", BigInteger, nullable=False, server_default="0"),
    Column("end_offset", BigInteger, nullable=False, server_default="0"),  # as last seen by the owner
    Column("as_of", BigInteger, nullable=False, server_default="0"),  # all acknowledged before this is in the tables
    Column("updated_at", BigInteger, nullable=False, server_default="0"),
    postgresql_with={"fillfactor": "50"},
)

clock = Table(  # one row: the instant up to which time has closed journeys
    "clock",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("now", BigInteger, nullable=False),
)

outbox = Table(  # journeys.changes that are still to be published
    "outbox",
    metadata,
    Column("position", BigInteger, Identity(), primary_key=True),
    Column("records", LargeBinary, nullable=False),  # msgpack [[key, record]], in order
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", BigInteger),  # by ingest; null where the record was no rejected touchpoint
    Column("request", Text, nullable=False, server_default=""),  # what is kept of its request, to judge it again
    Column("sealed", Boolean, nullable=False, server_default="false"),  # data and request are tokens of shared/seals.py
    Column("redriven_at", BigInteger),  # null: not yet
    Column("outcome", Text),  # of the redrive: accepted, or the reason to reject it again
    UniqueConstraint("topic", "partition", "offset"),
    Index("dead_letters_reason", "reason", "id"),
)

dead_letter_counts = Table(  # by reason, so that nobody has to count the letters
    "dead_letter_counts",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),  # ever
    Column("kept", BigInteger, nullable=False, server_default="0"),  # still there
    Column("bytes", BigInteger, nullable=False, server_default="0"),  # that those hold
)

# --- The embedded log (shared/eventlog/postgres.py) ------------------------------------------------------------------

log_partitions = Table(
    "log_partitions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False, server_default="0"),
    postgresql_with={"fillfactor": "50"},
)

log_batches = Table(  # one row an append: records packed together, offsets base_offset .. next_offset - 1
    "log_batches",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("base_offset", BigInteger, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("appended_at", BigInteger, nullable=False),
    Column("records", LargeBinary, nullable=False),
)

log_leases = Table(
    "log_leases",
    metadata,
    Column("consumers", Text, primary_key=True),  # the group
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("member", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

log_members = Table(
    "log_members",
    metadata,
    Column("consumers", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("member", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)
