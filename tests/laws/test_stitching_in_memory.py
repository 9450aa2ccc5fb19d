"""Law 1 and 2 on the core: any order and any batching of the same records gives what a fold from scratch gives."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.stitcher.journey.batch import gather
from services.stitcher.journey.identity import FOREVER
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.scratch import Result, fold_everything, standing
from services.stitcher.stitching import stitch
from shared.identifiers import uid
from shared.touchpoint import BOT, Touchpoint
from tests.support.memory_unit import MemoryUnit, Tables
from tests.support.strategies import History, histories, tangled_histories


def stitched(history: History, records: list[bytes], cuts: list[int]) -> Tables:
    """The tables after stitching the records in batches that end at the cuts."""
    tables = Tables(clock=history.clock)
    plans = [Plan(number, definition) for number, definition in enumerate(history.maps, 1)]
    edges = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]

    async def run() -> None:
        for start, end in pairwise(edges):
            if start < end:
                batch = gather(records[start:end], history.rules)
                await stitch(MemoryUnit(tables), batch, plans, history.rules, history.clock, history.clock)

    asyncio.run(run())
    return tables


def from_scratch(history: History) -> Result:
    plans = [Plan(number, definition) for number, definition in enumerate(history.maps, 1)]
    return fold_everything(history.records, plans, history.rules, history.clock)


def journeys_of(result: Result) -> dict[Any, Any]:
    return {
        journey.journey_id: (uid(root), plain(journey), tuple(state[:3]))
        for root, maps in result.journeys.items() for counted in maps.values() for journey, state in counted
    }  # fmt: skip


def plain(journey: Any) -> tuple[Any, ...]:
    return (
        journey.map_id, journey.channel, journey.acquisition, journey.source, journey.started_at, journey.last_at,
        journey.deadline, journey.segments, [v.__reduce__()[1] for v in journey.visits], journey.furthest,
        journey.touchpoints, journey.converted_at, journey.value,
    )  # fmt: skip


@settings(max_examples=300)
@given(histories() | tangled_histories(), st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False))
def test_any_order_and_batching_gives_the_fold_from_scratch(history: History, cuts: list[int], random: Any) -> None:
    records = list(history.records)
    records += random.sample(records, len(records) // 3)
    random.shuffle(records)
    tables, scratch = stitched(history, records, cuts), from_scratch(history)
    assert {i: (o, plain(j), j.counted) for i, (o, j) in tables.journeys.items()} == journeys_of(scratch)
    assert standing(tables.rollups) == standing(scratch.rollups)
    for key, identifier in tables.identifiers.items():
        assert identifier.profile == uid(scratch.ladder.climb(key, FOREVER)), key
    kept = {p.key: (p.touchpoints, p.traits) for p in tables.profiles.values() if p.touchpoints}
    roots = list(scratch.owners.values())
    assert kept == {root: (roots.count(root), scratch.traits[root]) for root in set(roots)}


@settings(max_examples=15)
@given(histories() | tangled_histories(), st.lists(st.integers(0, 60), max_size=4), st.data())
def test_what_bots_did_counts_for_nothing(history: History, cuts: list[int], data: st.DataObject) -> None:
    people = [msgspec.json.decode(record, type=Touchpoint) for record in history.records if b'"command"' not in record]
    chosen = data.draw(st.lists(st.sampled_from(people), max_size=5)) if people else []
    bots = [
        msgspec.structs.replace(one, id=f"bot-{one.id}", ids={**one.ids, "card": "c1"}, flags=(BOT,)) for one in chosen
    ]
    records = [*history.records, *map(msgspec.json.encode, bots)]
    assert gather(records, history.rules).bots == len(bots)
    with_bots, without = (stitched(history, some, cuts) for some in (records, list(history.records)))
    assert standing(with_bots.rollups) == standing(without.rollups)
    assert with_bots.journeys.keys() == without.journeys.keys()
    assert with_bots.identifiers.keys() == without.identifiers.keys()
