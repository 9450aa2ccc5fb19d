"""Tables filled by hand: journeys as sentences, and the rollups that they add up to, by plain INSERTs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from shared.identifiers import named, uid
from shared.journey_map import JourneyMap, parse_map
from shared.tables import (
    BUCKET_GROWTH,
    DAY_TIER,
    HOUR_TIER,
    MINUTE_TIER,
    NO_BUCKET,
    SECOND_TIER,
    START,
    TO_COMPLETED,
    TO_LOST,
    CohortLayout,
    Visit,
)
from shared.touchpoint import MINUTE, SECOND, micros
from shared.zones import day_start, hour_start

SHOP: Final = parse_map(
    """
    map: shop
    version: 2
    title: The shop
    timezone: Europe/Berlin
    timeout: 14d
    goal: {event: Order Completed}
    value: properties.revenue
    stages:
      - {name: awareness, when: [{type: page}], target: {conversion: 0.5}}
      - {name: consideration, when: [{event: Product Viewed}], stall: 1h}
      - {name: purchase, when: [{event: [Checkout Started, Order Completed]}]}
    segments: {vip: {traits.tier: gold}}
    moments: [{name: first purchase, when: [{event: Order Completed}]}]
    experience: [{event: Survey Answered, score: properties.rating, scale: [1, 5]}]
    """,
    "seed",
)
SHOP_BEFORE: Final = SHOP.model_copy(update={"version": 1})


def at(text: str) -> int:
    """An instant of 2026-11 in UTC: ``23 10:30``, microseconds since 1970."""
    day, _, clock = text.partition(" ")
    return micros(datetime.fromisoformat(f"2026-11-{int(day):02}T{clock or '00:00'}").replace(tzinfo=UTC))


@dataclass(frozen=True)
class Told:
    """A journey by hand: ``visits`` are (stage, when) pairs, ``closed`` when it ended."""

    visits: Sequence[tuple[int, int]]
    status: int = 0
    closed: int | None = None
    converted: int | None = None
    value: float = 0
    channel: str = "web"
    acquisition: str = ""
    source: str = "site"
    segments: Sequence[str] = ()
    stalled: bool = False
    restated: bool = False
    who: str = "user_id:u1"
    felt: float | None = None

    @property
    def started(self) -> int:
        return self.visits[0][1]


class Seed:
    """Writes what a test tells into the tables."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._told = 0

    async def map(self, definition: JourneyMap = SHOP, live: bool = True) -> int:
        """A version of a map; answers its map_id."""
        map_id: int = await self.connection.fetchval(
            "insert into map_versions (map, version, digest, definition, live, live_since) values ($1,$2,$3,$4,$5,$6)"
            " returning map_id",
            definition.map, definition.version, definition.digest(),
            msgspec.json.encode(definition.definition()).decode(), live, at("1"),
        )  # fmt: skip
        return map_id

    async def partition(self, as_of: int, partition: int = 0, topic: str = "touchpoints", **given: Any) -> None:
        row = {"next_offset": 10, "end_offset": 10, "owner": "one"} | given
        await self.connection.execute(
            "insert into partitions (topic, partition, as_of, next_offset, end_offset, owner)"
            " values ($1, $2, $3, $4, $5, $6)",
            topic, partition, as_of, row["next_offset"], row["end_offset"], row["owner"],
        )  # fmt: skip

    async def journey(self, map_id: int, told: Told, definition: JourneyMap = SHOP) -> UUID:
        """A journey and all that it adds to the rollups; answers its id."""
        self._told += 1
        journey_id = named(f"{map_id}/{self._told}")
        await self._row(map_id, told, journey_id)
        for segment in ("", *told.segments):
            cell = await self._cell(map_id, segment, told)
            await self._cohort(cell, told, definition)
            await self._flow(cell, told, definition)
        return journey_id

    async def _row(self, map_id: int, told: Told, journey_id: UUID) -> None:
        visits = [
            Visit(
                stage,
                entered,
                f"t{number}",
                entered,
                felt=round((told.felt or 0) * 1e6),
                felt_n=int(told.felt is not None),
            )
            for number, (stage, entered) in enumerate(told.visits)
        ]
        row = {
            "journey_id": journey_id, "profile_id": uid(told.who), "map_id": map_id, "status": told.status,
            "stalled": told.stalled, "stage": told.visits[-1][0], "furthest": max(stage for stage, _ in told.visits),
            "entered": sorted({stage for stage, _ in told.visits}), "touchpoints": len(told.visits),
            "started_at": told.started, "last_at": told.visits[-1][1],
            "deadline": told.visits[-1][1] + 14 * 24 * 60 * MINUTE,
            "closed_at": told.closed, "closed_early": False, "converted_at": told.converted,
            "value": _millionths(told.value), "channel": told.channel, "acquisition": told.acquisition,
            "source": told.source, "segments": list(told.segments), "visits": msgspec.msgpack.encode(visits),
            "restated": told.restated,
        }  # fmt: skip
        await self._insert("journeys", row)

    async def _cell(self, map_id: int, segment: str, told: Told) -> int:
        cell_id: int = await self.connection.fetchval(
            "insert into cells (map_id, segment, channel, acquisition, source) values ($1,$2,$3,$4,$5)"
            " on conflict (map_id, segment, channel, acquisition, source) do update set segment = excluded.segment"
            " returning cell_id",
            map_id, segment, told.channel, told.acquisition, told.source,
        )  # fmt: skip
        return cell_id

    async def _cohort(self, cell: int, told: Told, definition: JourneyMap) -> None:
        layout = CohortLayout(len(definition.stages), len(definition.moments))
        state = (1 if told.converted else 0) if told.status == 0 else told.status + 1
        counts = [0] * layout.width
        last, furthest = told.visits[-1][0], max(stage for stage, _ in told.visits)
        places = [layout.left(furthest, state), layout.at(last, state)]
        places += [layout.at(last, layout.STALLED)] if told.stalled else []
        places += [layout.entered(stage) for stage in {stage for stage, _ in told.visits}]
        places += [layout.touchpoints(stage) for stage, _ in told.visits]
        for place, n in Counter(places).items():
            counts[place] += n
        if told.felt is not None:
            for stage, _ in told.visits:
                counts[layout.felt(stage)] += round(told.felt * 1e6)
                counts[layout.felt_n(stage)] += 1
        for tier, start in ((HOUR_TIER, hour_start), (DAY_TIER, day_start)):
            await self.connection.execute(
                "insert into rollup_cohort as r (cell_id, tier, at, counts, value, restated) values ($1,$2,$3,$4,$5,$6)"
                " on conflict (cell_id, tier, at) do update set value = r.value + excluded.value,"
                " restated = r.restated + excluded.restated, counts = (select array_agg(a + b order by place)"
                " from unnest(r.counts, excluded.counts) with ordinality as pair(a, b, place))",
                cell, tier, start(told.started, definition.zone), counts, _millionths(told.value), int(told.restated),
            )  # fmt: skip

    async def _flow(self, cell: int, told: Told, definition: JourneyMap) -> None:
        moves = [(told.started, START, told.visits[0][0], NO_BUCKET)]
        for (stage, entered), (to, then) in zip(told.visits, told.visits[1:], strict=False):
            moves.append((then, stage, to, _bucket(then - entered)))
        if told.closed is not None:
            stage, entered = told.visits[-1]
            moves.append(
                (told.closed, stage, TO_COMPLETED if told.status == 1 else TO_LOST, _bucket(told.closed - entered))
            )
        for time, origin, to, bucket in moves:
            await self._one_more(cell, HOUR_TIER, hour_start(time, definition.zone), (origin, to, bucket))
            await self._one_more(cell, DAY_TIER, day_start(time, definition.zone), (origin, to, bucket))
            await self._one_more(cell, MINUTE_TIER, time - time % MINUTE, (origin, to, NO_BUCKET))
            await self._one_more(cell, SECOND_TIER, time - time % SECOND, (origin, to, NO_BUCKET))

    async def _one_more(self, cell: int, tier: int, start: int, move: tuple[int, int, int]) -> None:
        await self.connection.execute(
            "insert into rollup_flow as r values ($1,$2,$3,$4,$5,$6,1)"
            " on conflict (cell_id, tier, at, from_stage, to_stage, bucket) do update set n = r.n + 1",
            cell, tier, start, *move,
        )  # fmt: skip

    async def identifier(self, key: str, climbs_to: str | None = None, degree: int = 0) -> None:
        await self._insert(
            "identifiers",
            {"uid": uid(key), "key": key, "component": uid(climbs_to or key), "profile": uid(climbs_to or key),
             "degree": degree},
        )  # fmt: skip

    async def profile(self, key: str, touchpoints: int = 1, traits: dict[str, Any] | None = None) -> None:
        """The profile that an identifier names."""
        packed = {name: [at("20"), "t1", value] for name, value in (traits or {}).items()}
        await self._insert(
            "profiles",
            {"profile_id": uid(key), "touchpoints": touchpoints, "last_time": at("20"),
             "traits": msgspec.msgpack.encode(packed), "journeys": msgspec.msgpack.encode({}), "sequence": 0},
        )  # fmt: skip

    async def link(self, lower: str, higher: str, *times: int, revoked: bool = False) -> None:
        """Evidence at these instants; the touchpoint that says so is ``l`` and the instant."""
        first, last = min(times), max(times)
        span = {"earliest": first, "earliest_id": f"l{first}", "latest": last, "latest_id": f"l{last}"}
        pair = {"lower": uid(lower), "higher": uid(higher)}
        await self._insert("links", pair | span | {"revoked": revoked})
        for time in sorted({time - time % (60 * MINUTE) for time in times}):
            here = [one for one in times if time <= one < time + 60 * MINUTE]
            first, last = min(here), max(here)
            span = {"earliest": first, "earliest_id": f"l{first}", "latest": last, "latest_id": f"l{last}"}
            await self._insert("link_hours", pair | {"hour": time} | span)

    async def alias(self, a: str, b: str, time: int, revoked: bool = False) -> None:
        row = {"a": uid(a), "b": uid(b), "time": time, "touchpoint_id": f"a{time}", "revoked": revoked}
        await self._insert("aliases", row)

    async def touchpoint(self, key: str, id: str, time: int, **given: Any) -> None:
        kind, _, value = key.partition(":")
        when = datetime.fromtimestamp(time / 1e6, UTC).isoformat().replace("+00:00", "Z")
        sent = {"id": id, "type": "track", "event": "Seen", "time": when, "received_at": when, "source": "site",
                "channel": "web", "ids": {kind: value}} | given  # fmt: skip
        await self._insert(
            "touchpoints",
            {"identifier": uid(key), "id": id, "time": time, "received_at": time, "traits": False,
             "data": msgspec.json.encode(sent)},
        )  # fmt: skip

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", *row.values())


def _millionths(value: float) -> int:
    return int(Decimal(repr(value)) * 1_000_000)


def _bucket(spent: int) -> int:
    """Counted up from one second, without logarithms."""
    bucket, end = 0, 1.0
    while spent / SECOND >= end:
        bucket, end = bucket + 1, end * BUCKET_GROWTH
    return bucket


async def connect(url: str) -> Any:
    return await asyncpg.connect(url)
