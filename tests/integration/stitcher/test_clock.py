"""The clock on real tables: journeys close at their deadlines, in bounded batches, and hold still behind the log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.stitcher.clock import Clock
from services.stitcher.journey.rules import Plan
from services.stitcher.store import Store
from services.stitcher.store.rows import outbox_records
from services.stitcher.telemetry import Telemetry
from shared.tables import COMPLETED, LOST, OPEN
from tests.integration.stitcher.test_whole_state import history
from tests.integration.stitcher.world import ask, config, live, opened, problems, state, take, tell
from tests.support.builders import hours, touchpoint


def clock_of(store: Store, plans: list[Plan], batch: int = 3) -> Clock:
    return Clock(store, plans, Telemetry(), batch=batch, log_hours=24)


async def at(database: str, store: Store, plans: list[Plan], instant: int, batch: int = 3) -> None:
    """All of the log is in up to an instant, and the clock has had its turn."""
    await tell(database, "update partitions set as_of = greatest(as_of, $1)", instant)
    await clock_of(store, plans, batch).turn()


async def told(database: str) -> list[dict[str, Any]]:
    """The changes in the outbox."""
    packs = await ask(database, "select records from outbox order by position")
    return [json.loads(record) for (pack,) in packs for _, record in outbox_records(pack)]


async def statuses(database: str) -> list[tuple[object, ...]]:
    return await ask(database, "select status, stalled, closed_at from journeys order by started_at")


async def test_a_journey_is_lost_at_its_deadline_and_not_before(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A")])
        await at(database, store, plans, hours(24))
        assert await statuses(database) == [(OPEN, False, None)]
        await at(database, store, plans, hours(24) + 1)
        assert await statuses(database) == [(LOST, False, hours(24))]
    assert await problems(database, folder) == []


async def test_a_converted_journey_is_completed(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A"), touchpoint(1, "Goal")])
        await at(database, store, plans, hours(30))
        assert await statuses(database) == [(COMPLETED, False, hours(25))]
    assert await problems(database, folder) == []


async def test_a_silent_cart_is_stalled_first(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "B")])
        await at(database, store, plans, hours(1) + 1)
        assert await statuses(database) == [(OPEN, True, None)]
        assert await problems(database, folder) == []
        await take(store, plans, [touchpoint(2, "A")])
        assert await statuses(database) == [(OPEN, False, None)]
    assert await problems(database, folder) == []


async def test_a_late_touchpoint_opens_what_time_has_closed(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A")])
        await at(database, store, plans, hours(25))
        await take(store, plans, [touchpoint(20, "B")])
        assert await statuses(database) == [(OPEN, True, None)]
    assert await ask(database, "select restated from journeys") == [(True,)]
    assert await problems(database, folder) == []


async def test_the_clock_follows_the_partition_that_is_furthest_behind(database: str) -> None:
    plans = await live(database)
    async with opened(database, plans) as store:
        await tell(database, "update partitions set as_of = 100 + partition where topic = 'touchpoints'")
        assert await clock_of(store, plans).advance() == 100
        await tell(database, "update partitions set as_of = 50 where topic = 'touchpoints' and partition = 0")
        assert await clock_of(store, plans).advance() == 100


async def test_many_journeys_close_in_bounded_batches_once_each(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(n / 100, "A", f"user_id:u{n}") for n in range(25)])
        closing, rounds = clock_of(store, plans, batch=10), 0
        while await closing.close_some(hours(100)):
            rounds += 1
        assert rounds == 3
    assert sum(one["change"] == "lost" for one in await told(database)) == 25
    await tell(database, "update clock set now = $1", hours(100))
    assert await problems(database, folder) == []


async def test_what_goes_on_is_looked_at_again_when_it_is_due(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        for hour in range(0, 40, 10):
            await take(store, plans, [touchpoint(hour, "A")])
        assert await ask(database, "select due_hour < due_at / 3600000000 from journeys") == [(True,)]
        await at(database, store, plans, hours(40))
        assert await statuses(database) == [(OPEN, False, None)]
        assert await ask(database, "select due_hour = due_at / 3600000000 from journeys") == [(True,)]
        await at(database, store, plans, hours(60))
        assert await statuses(database) == [(LOST, False, hours(54))]
    assert await problems(database, folder) == []


async def test_closing_and_stitching_at_once_give_what_each_alone_gives(database: str, tmp_path: Path) -> None:
    plans, sent = await live(database), history(11, n=400)

    async def stitching(store: Store) -> None:
        for start in range(0, 400, 20):
            await take(store, plans, sent[start : start + 20])

    async def closing(store: Store, done: asyncio.Event) -> None:
        hour = 0
        while not done.is_set():
            hour += 3
            await at(database, store, plans, hours(hour))

    async with opened(database, plans) as store:
        done = asyncio.Event()
        other = asyncio.create_task(closing(store, done))
        try:
            await stitching(store)
        finally:
            done.set()
            await other
        await at(database, store, plans, hours(1000), batch=100)
    assert await problems(database, config(tmp_path)) == []
    assert await state(database) == await state(database, None)


@pytest.mark.parametrize(("age_hours", "left"), [(1, 1), (100, 0)])
async def test_the_short_lived_tiers_are_swept(database: str, age_hours: int, left: int) -> None:
    plans = await live(database)
    async with opened(database, plans) as store:
        await tell(database, "insert into cells (map_id, segment, channel, acquisition, source)"
                             " values (1, '', 'web', '', 's')")  # fmt: skip
        await tell(database, "insert into rollup_flow values (1, 1, $1, 0, 1, -1, 1)", hours(-age_hours))
        await clock_of(store, plans).sweep(hours(0))
    assert await ask(database, "select count(*)::int from rollup_flow") == [(left,)]


async def test_the_embedded_log_keeps_what_is_not_stitched_yet(database: str) -> None:
    plans = await live(database)
    async with opened(database, plans) as store:
        for base in (0, 10):
            await tell(database, "insert into log_batches values ('touchpoints', 0, $1, $2, 0, '')", base, base + 10)
        await tell(database, "update partitions set next_offset = 15 where topic = 'touchpoints' and partition = 0")
        await clock_of(store, plans).sweep(hours(0))
    assert await ask(database, "select base_offset from log_batches") == [(10,)]
