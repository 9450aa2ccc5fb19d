"""The loop on real logs: everything in once, poison apart, fences held, as_of honest."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from services.stitcher.app import now
from services.stitcher.errors import Misconfigured, Stuck
from services.stitcher.loop import Pace, limit_after
from services.stitcher.settings import StitcherSettings
from shared.touchpoint import REJECTED
from tests.integration.stitcher.test_whole_state import history
from tests.integration.stitcher.workers import FAST, Scene, scene
from tests.integration.stitcher.world import ask, config, live, opened, problems, state, take, tell, until
from tests.support.builders import touchpoint
from tests.support.kafka import KafkaBroker


@pytest.fixture
async def shop(database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """On the embedded log."""
    settings = StitcherSettings(database_url=database, throughline_config=config(tmp_path), kafka_partitions=3)
    async with scene(settings, await live(database)) as found:
        yield found


@pytest.fixture
async def kafka_shop(database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """On a broker of its own: the product's topics have fixed names, and others' touchpoints would come along."""
    broker = KafkaBroker(tmp_path / "kafka")
    broker.start()
    settings = StitcherSettings(
        database_url=database, throughline_config=config(tmp_path), kafka_partitions=3,
        kafka_bootstrap_servers=broker.bootstrap_servers,
    )  # fmt: skip
    async with scene(settings, await live(database)) as found:
        yield found
    broker.kill()


async def right(shop: Scene) -> None:
    assert await problems(shop.database, shop.settings.throughline_config) == []


async def clean(shop: Scene, sent: list[Any]) -> dict[str, str]:
    """The digest of a run without any trouble."""
    await tell(shop.database, "truncate touchpoints, identifiers, links, link_hours, aliases, profiles, journeys,"
                              " visit_blocks, rollup_cohort, rollup_flow, revocations")  # fmt: skip
    async with opened(shop.database, shop.plans) as store:
        await take(store, shop.plans, sent)
    return await state(shop.database)


async def everything_is_in_once(shop: Scene) -> None:
    sent = history(5)
    async with shop.worker():
        await shop.send(sent)
        await shop.send(sent[:100])
        await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(300,)]
    await right(shop)
    mixed = await state(shop.database)
    assert mixed == await clean(shop, sent)


async def test_everything_sent_is_in_once_and_right(shop: Scene) -> None:
    await everything_is_in_once(shop)


async def test_everything_sent_through_kafka_is_in_once_and_right(kafka_shop: Scene) -> None:
    await everything_is_in_once(kafka_shop)


async def test_a_restart_goes_on_where_the_tables_say(shop: Scene) -> None:
    for part in (history(6)[:150], history(6)[150:]):
        async with shop.worker():
            await shop.send(part)
            await shop.drained()
    assert await ask(shop.database, "select sum(next_offset) from partitions where topic = 'touchpoints'") == [(300,)]
    await right(shop)


NOBODYS_ALIAS = (
    b'{"id":"m","type":"alias","time":"2026-11-01T00:00:00Z","received_at":"2026-11-01T00:00:00Z","source":"shop",'
    b'"channel":"web","ids":{"anonymous_id":"a"},"previous_id":"b"}'
)


async def test_what_cannot_be_read_is_a_dead_letter_and_its_neighbours_are_in(shop: Scene) -> None:
    good = [touchpoint(n, "A", f"user_id:u{n}") for n in range(20)]
    async with shop.worker():
        await shop.send(good[:10])
        await shop.send_bytes([b"not json", b'{"id": 1}', b"\xff\x00", NOBODYS_ALIAS])
        await shop.send(good[10:])
        await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(20,)]
    letters = await ask(shop.database, "select reason, data from dead_letters order by data")
    assert letters == [("undecodable", data) for data in (b"not json", b'{"id": 1}', NOBODYS_ALIAS, b"\xff\x00")]
    assert await ask(shop.database, "select reason, n from dead_letter_counts") == [("undecodable", 4)]
    await right(shop)


async def test_what_bots_did_is_read_and_not_stitched(shop: Scene) -> None:
    people = [touchpoint(n, "A", f"user_id:u{n}") for n in range(10)]
    bots = [touchpoint(n, "A", f"user_id:u{n} anonymous_id:crawler", flags=("bot",)) for n in range(10)]
    async with shop.worker():
        await shop.send([*people, *bots])
        await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(10,)]
    assert await ask(shop.database, "select count(*) from identifiers") == [(10,)]
    assert await ask(shop.database, "select sum(next_offset) from partitions where topic = 'touchpoints'") == [(20,)]
    await right(shop)


class Choking:
    """A unit that cannot store one touchpoint."""

    def __init__(self, unit: Any) -> None:
        self._unit = unit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    async def insert_touchpoints(self, *rows: Any) -> Any:
        if any(row.id == "bad" for row in rows[0]):
            raise KeyError("bad")
        return await self._unit.insert_touchpoints(*rows)


async def test_a_record_that_breaks_its_batch_is_found_and_buried(shop: Scene) -> None:
    good = [touchpoint(n, "A", f"user_id:u{n}") for n in range(30)]
    await shop.send([*good[:11], touchpoint(5, "A", id="bad"), *good[11:]])
    async with shop.worker(wrap=Choking):
        await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(30,)]
    assert await ask(shop.database, "select reason from dead_letters") == [("unstitchable",)]
    await right(shop)


async def test_too_many_dead_letters_in_a_row_stop_the_worker_loudly(shop: Scene) -> None:
    await shop.send_bytes([b"bad"] * 50, key=b"k")
    async with shop.loop(pace=Pace(batch=50, in_a_row=10)) as loop:
        with pytest.raises(Stuck, match="in a row of topic touchpoints: stopped rather than drain"):
            await asyncio.wait_for(loop.run(), 20)
    assert await ask(shop.database, "select count(*) < 10 from dead_letters") == [(True,)]


async def test_a_paused_worker_that_lost_its_partitions_commits_nothing(shop: Scene) -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    class Pausing(Choking):
        async def insert_touchpoints(self, *rows: Any) -> Any:
            entered.set()
            await release.wait()
            return await self._unit.insert_touchpoints(*rows)

    rejoined = asyncio.Event()

    async def note() -> None:
        rejoined.set()

    sent = history(7, n=60)
    async with shop.worker("paused", wrap=Pausing, rejoining=note):
        await shop.send(sent)
        await entered.wait()
        # Its transaction stands still for longer than PostgreSQL lets it; then somebody else has the partitions.
        await until(lambda: taken_over(shop))
        release.set()
        await until(rejoined.is_set)
        await shop.drained()
    await right(shop)
    assert await ask(shop.database, "select count(*) from touchpoints") == [(60,)]


def once_ahead(shop: Scene, then: Callable[[], Awaitable[None]]) -> Callable[[Any], Any]:
    """Units of which the first waits until the batch after its own has been read, and for what a test does then."""
    waited: list[bool] = []

    class Ahead(Choking):
        async def insert_touchpoints(self, *rows: Any) -> Any:
            if not waited:
                waited.append(True)
                await until(lambda: len(shop.decoded) > 1)
                await then()
            return await self._unit.insert_touchpoints(*rows)

    return Ahead


async def backlog(shop: Scene) -> None:
    """More than three batches, however large a batch may be."""
    sent = history(11, n=2400)
    for start in range(0, len(sent), 100):
        await shop.send(sent[start : start + 100])


async def test_a_batch_that_was_read_ahead_of_one_that_failed_is_read_again(shop: Scene) -> None:
    async def fail() -> None:
        raise OSError("the database is away")

    await backlog(shop)
    async with shop.worker(wrap=once_ahead(shop, fail)):
        await shop.drained()
    assert sum(shop.decoded) > 2400, "read again"
    assert await ask(shop.database, "select count(*) from touchpoints") == [(2400,)]
    await right(shop)


async def test_partitions_that_go_to_another_worker_leave_nothing_out_that_was_read_ahead(shop: Scene) -> None:
    members = "select count(*) from log_members where topic = 'touchpoints'"
    ahead, two = asyncio.Event(), asyncio.Event()

    async def let_another_in() -> None:
        ahead.set()
        await two.wait()

    await backlog(shop)
    async with shop.worker("one", wrap=once_ahead(shop, let_another_in)):
        await ahead.wait()
        async with shop.worker("two"):
            await until(lambda: holds(shop, members, 2))
            two.set()
            await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(2400,)]
    await right(shop)


async def taken_over(shop: Scene) -> bool:
    """Claims all partitions for nobody, as soon as their rows can be had."""
    await tell(shop.database, "update partitions set epoch = epoch + 1 where topic = 'touchpoints'")
    return True


async def test_workers_share_the_partitions_and_hand_them_over(shop: Scene) -> None:
    sent = history(8, n=400)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shop.worker("one"))
        await shop.send(sent[:100])
        await shop.drained()
        await stack.enter_async_context(shop.worker("two"))
        owners = "select count(distinct owner) from partitions where topic = 'touchpoints'"
        await until(lambda: holds(shop, owners, 2))
        await shop.send(sent[100:300])
        await shop.drained()
        async with shop.worker("three"):
            await shop.send(sent[300:])
            await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(400,)]
    await right(shop)


async def holds(shop: Scene, query: str, wanted: Any) -> bool:
    return bool((await ask(shop.database, query))[0][0] == wanted)


async def test_several_workers_at_once_on_the_same_customers(shop: Scene) -> None:
    sent = history(9, n=600, people=8)
    random.Random(9).shuffle(sent)
    async with shop.worker("one", FAST), shop.worker("two", FAST), shop.worker("three", FAST):
        owners = "select count(distinct owner) from partitions where topic = 'touchpoints'"
        await until(lambda: holds(shop, owners, 3))
        for start in range(0, 600, 60):
            await shop.send(sent[start : start + 60])
        await shop.drained()
    await right(shop)
    mixed = await state(shop.database)
    assert mixed == await clean(shop, sent)


async def test_as_of_moves_on_an_idle_system(shop: Scene) -> None:
    async with shop.worker():
        await shop.drained()
        await shop.drained()


async def test_as_of_waits_for_what_is_acknowledged_and_not_in(shop: Scene) -> None:
    tries = 0

    class Away(Choking):
        async def insert_touchpoints(self, *rows: Any) -> Any:
            nonlocal tries
            tries += 1
            raise OSError("the database is away")

    await shop.send([touchpoint(0)])
    acknowledged = now()
    async with shop.worker(wrap=Away):
        await until(lambda: tries >= 3)
        ((as_of,),) = await ask(shop.database, "select min(as_of) from partitions where topic = 'touchpoints'")
    assert as_of < acknowledged
    async with shop.worker():
        await shop.drained()
    assert await ask(shop.database, "select count(*) from touchpoints") == [(1,)]


async def test_other_maps_elsewhere_stop_a_worker_with_a_sentence(shop: Scene) -> None:
    async def other_maps() -> None:
        raise Misconfigured("other maps")

    async with shop.loop(rejoining=other_maps) as loop:
        running = asyncio.create_task(loop.run())
        await shop.drained()
        await taken_over(shop)
        with pytest.raises(Misconfigured):
            await asyncio.wait_for(running, 20)


async def test_rejected_touchpoints_are_kept_with_their_reason(shop: Scene) -> None:
    sent = b'{"id":"m","index":3,"source":"site","reason":"time_invalid","message":"-","encoding":"utf-8","data":"x"}'
    async with shop.worker(topic=REJECTED):
        await shop.send_bytes([sent, sent.replace(b"utf-8", b"base64").replace(b'"x"', b'"/w=="')], topic=REJECTED)
        await shop.drained(REJECTED)
    letters = await ask(shop.database, "select source, reason, message, data from dead_letters order by data")
    assert letters == [("site", "time_invalid", "-", b"x"), ("site", "time_invalid", "-", b"\xff")]


def test_a_batch_is_as_large_as_four_seconds_allow_and_never_small_in_a_backlog() -> None:
    assert limit_after(10_000, 2.0, 80_000) == 20_000
    assert limit_after(50_000, 20.0, 80_000) == 10_000
    assert limit_after(50_000, 1.0, 80_000) == 80_000
    assert limit_after(10, 0.02, 80_000) == limit_after(0, 0.01, 80_000) == 5_000
    assert limit_after(50, 9.0, 50) == 50
