"""The laws of the design on real PostgreSQL: however the records come in, the tables say what the set of them means."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.stitcher.digest import digest
from services.stitcher.replay import replay
from services.stitcher.verify import verify
from shared.identifiers import IdentityRules, key
from shared.touchpoint import DAY, Revocation, micros
from tests.support import datasets, stored
from tests.support.strategies import (
    History,
    crowded_histories,
    evident_pairs,
    histories,
    revocation_id,
    tangled_histories,
)
from tests.support.workers import Problems, Shop, Way, opened

any_histories = histories() | crowded_histories() | tangled_histories()
seeds = st.integers(0, 2**32)
few = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would try a database thousands of times
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # it is emptied each time
)


@pytest.fixture
def run(database: str, tmp_path: Path) -> Iterator[Any]:
    """Runs a law, a coroutine function that is given a maker of shops on a database of the test's own."""
    with asyncio.Runner() as runner:
        shops = opened(database, tmp_path / "config")
        make = runner.run(shops.__aenter__())
        yield lambda law: runner.run(law(make))
        runner.run(shops.__aexit__(None, None, None))


def mixed_up(history: History, random: Random) -> list[bytes]:
    """Every record at least once, in any order."""
    records = [*history.records, *random.sample(history.records, len(history.records) // 3)]
    random.shuffle(records)
    return records


async def is_right(shop: Shop) -> None:
    """The tables agree with the slow model, and verify finds nothing."""
    await stored.agrees(shop.url, shop.plans, shop.history)
    problems = Problems()
    assert (await verify(shop.settings, problems), problems.found) == (0, [])


@few
@given(history=any_histories, seed=seeds)
def test_any_order_batching_and_crash_of_one_worker(run: Any, history: History, seed: int) -> None:
    random = Random(seed)

    async def law(make: Any) -> None:
        shop = await make(history, 2)
        await shop.stitch(mixed_up(history, random), Way(random, partitions=2, largest_batch=6, crashes=True))
        await is_right(shop)

    run(law)


@few
@given(history=histories(most=30) | tangled_histories(most=20), seed=seeds)
def test_any_number_of_workers_at_once(run: Any, history: History, seed: int) -> None:
    random = Random(seed)

    async def law(make: Any) -> None:
        shop = await make(history, 3)
        way = Way(random, partitions=3, workers=3, largest_batch=4, crashes=random.random() < 0.5)
        await shop.stitch(mixed_up(history, random), way)
        await is_right(shop)

    run(law)


@few
@given(history=any_histories, seed=seeds)
def test_a_replay_changes_nothing(run: Any, history: History, seed: int) -> None:
    random = Random(seed)

    async def law(make: Any) -> None:
        shop = await make(history, 1)
        await shop.stitch(mixed_up(history, random), Way(random, largest_batch=5))
        before = await digest(shop.url, history.clock)
        await replay(shop.settings, Problems())
        assert await digest(shop.url, history.clock) == before
        await is_right(shop)

    run(law)


@few
@given(history=any_histories, ways=st.lists(seeds, min_size=2, max_size=2))
def test_two_ways_of_the_same_records_have_one_digest(run: Any, history: History, ways: list[int]) -> None:
    async def law(make: Any) -> None:
        digests = []
        for random in map(Random, ways):
            shop = await make(history, 2)
            workers = random.randint(1, 2)
            await shop.stitch(mixed_up(history, random), Way(random, partitions=2, workers=workers, largest_batch=9))
            digests.append(await digest(shop.url, history.clock))
        assert digests[0] == digests[1]

    run(law)


@few
@given(history=histories() | tangled_histories(), seed=seeds)
def test_linked_and_revoked_is_never_linked(run: Any, history: History, seed: int) -> None:
    random = Random(seed)
    alone = once_each(history)
    if not (pairs := plain_pairs(alone)):
        return
    lower, higher = random.choice(pairs)
    revoke = Revocation(id=revocation_id(77), received_at=alone.touchpoints[0].received_at, lower=lower, higher=higher)
    linked = History(alone.touchpoints, [revoke], alone.maps, alone.rules, alone.clock)
    never = History(without(alone, lower, higher), [], alone.maps, alone.rules, alone.clock)

    async def law(make: Any) -> None:
        digests = []
        for one in (linked, never):
            shop = await make(one, 1)
            await shop.stitch(mixed_up(one, random), Way(random, largest_batch=5))
            await is_right(shop)
            digests.append(await digest(shop.url, one.clock))
        assert {part: digests[0][part] for part in DERIVED} == {part: digests[1][part] for part in DERIVED}

    run(law)


DERIVED = ("profiles", "journeys", "rollups")


def once_each(history: History) -> History:
    """Without copies: which of two counts may hang on their encodings, and so on the identifiers in them."""
    found = {(key(*history.rules.highest(one.ids)), one.id): one for one in history.touchpoints}
    return History(list(found.values()), [], history.maps, history.rules, history.clock)


def plain_pairs(history: History) -> list[tuple[str, str]]:
    """The links that come from touchpoints with both identifiers, and from no alias."""
    aliases = evident_pairs([one for one in history.touchpoints if one.type == "alias"])
    return [pair for pair in evident_pairs(history.touchpoints) if pair not in aliases]


def without(history: History, lower: str, higher: str) -> list[Any]:
    """The touchpoints as they would be if nobody had seen the two together."""
    return [
        msgspec.structs.replace(one, ids={kind: value for kind, value in one.ids.items() if key(kind, value) != lower})
        if key(*history.rules.highest(one.ids)) == higher else one
        for one in history.touchpoints
    ]  # fmt: skip


@pytest.mark.parametrize("name", datasets.NAMES)
def test_each_data_set_through_three_workers(run: Any, name: str) -> None:
    touchpoints = datasets.touchpoints(name)[:35_000]  # the largest set is whole in test_core_and_slow_model
    clock = max(micros(one.time) for one in touchpoints) + DAY
    history = History(touchpoints, [], [datasets.journey_map(name)], IdentityRules(), clock)

    async def law(make: Any) -> None:
        shop = await make(history, 4)
        records = history.records
        await shop.stitch(records, Way(Random(name), partitions=4, workers=3, largest_batch=2000))
        await is_right(shop)

    run(law)
