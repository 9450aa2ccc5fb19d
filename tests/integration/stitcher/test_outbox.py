"""journeys.changes: at least once, in order for each profile, by one publisher at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from services.stitcher.outbox import Outbox
from services.stitcher.singleton import Singleton
from services.stitcher.telemetry import Telemetry
from shared.eventlog.port import LogUnavailable, Record
from tests.integration.stitcher.world import ask, live, opened, take, until
from tests.support.builders import touchpoint


class Log:
    """A topic in memory that may be away."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.away = False

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        if self.away:
            raise LogUnavailable("away")
        self.records += records

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def told(log: Log) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in log.records]


async def test_changes_are_published_in_order_and_then_gone(database: str) -> None:
    plans, log = await live(database), Log()
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A"), touchpoint(1, "B")])
        await take(store, plans, [touchpoint(2, "Goal")])
        await Outbox(store.pool, log, Telemetry()).turn()
    assert [(one["change"], one["sequence"]) for one in told(log)] == [
        ("opened", 1), ("entered", 2), ("entered", 3), ("converted", 4),
    ]  # fmt: skip
    assert {record.key for record in log.records} == {told(log)[0]["profile_id"].encode()}
    assert await ask(database, "select count(*) from outbox") == [(0,)]


async def test_what_the_log_did_not_take_is_published_later(database: str) -> None:
    plans, log = await live(database), Log()
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A")])
        log.away = True
        publisher = Singleton(store.pool, Outbox(store.pool, log, Telemetry()))
        running = asyncio.create_task(publisher.run())
        await until(lambda: publisher.trouble is not None)
        log.away = False
        await until(lambda: len(log.records) == 1)
        publisher.stop()
        await running


async def test_two_publishers_take_turns(database: str) -> None:
    plans, log = await live(database), Log()
    async with opened(database, plans) as store:
        publishers = [Singleton(store.pool, Outbox(store.pool, log, Telemetry())) for _ in range(2)]
        running = [asyncio.create_task(one.run()) for one in publishers]
        for n in range(20):
            await take(store, plans, [touchpoint(n, "A", f"user_id:u{n}")])
        await until(lambda: len(log.records) == 20)
        publishers[0].stop()
        await running[0]
        await take(store, plans, [touchpoint(30, "A", "user_id:late")])
        await until(lambda: len(log.records) == 21)
        publishers[1].stop()
        await running[1]
    assert len({record.key for record in log.records}) == 21
