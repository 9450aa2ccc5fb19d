"""Everything from scratch, by the same rules: what the tables must agree with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.stitcher.journey.batch import gather, pair_of
from services.stitcher.journey.evidence import Evidence, with_batch
from services.stitcher.journey.facts import Rollups, State, add_difference, state_of
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import Ladder
from services.stitcher.journey.profile import Traits, fold_on, traits_before
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import Touch, by_time
from shared.identifiers import IdentityRules


@dataclass(frozen=True, slots=True)
class Result:
    """``owners``: (highest identifier, touchpoint id) -> root; ``journeys``: root -> map_id -> journeys by start, each
    with what it counts as at the clock; ``traits``: root -> {key: (time, id, value)}; ``rollups``: the sum of all."""

    owners: dict[tuple[str, str], str]
    journeys: dict[str, dict[int, list[tuple[Journey, State]]]]
    traits: dict[str, Traits]
    rollups: Rollups
    ladder: Ladder


def fold_everything(records: Iterable[bytes], plans: Sequence[Plan], rules: IdentityRules, clock: int) -> Result:
    """All journeys of some records (touchpoints and commands, as bytes of the log) at a clock's instant."""
    batch = gather(records, rules)
    withdrawn = {command.id for command in batch.withdrawals}
    in_force = {pair_of(command) for command in batch.revocations if command.id not in withdrawn}
    pairs = batch.pairs
    evidence = with_batch(Evidence(), pairs, batch.hours, batch.aliases, {
        pair: pair in in_force for pair in {*pairs, *batch.aliases}
    })  # fmt: skip
    return fold_touches(batch.touches.values(), evidence.ladder(rules), plans, clock)


def fold_touches(touches: Iterable[Touch], ladder: Ladder, plans: Sequence[Plan], clock: int) -> Result:
    """All journeys of distinct touchpoints under a ladder."""
    owners: dict[tuple[str, str], str] = {}
    by_root: defaultdict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        root = owners[touch.key, touch.id] = ladder.climb(touch.key, touch.time)
        by_root[root].append(touch)
    result = Result(owners, {}, {}, Rollups(), ladder)
    for root, mine in by_root.items():
        result.journeys[root], result.traits[root] = _fold(mine, plans, clock, result.rollups)
    return result


def _fold(
    touches: list[Touch], plans: Sequence[Plan], clock: int, rollups: Rollups
) -> tuple[dict[int, list[tuple[Journey, State]]], Traits]:
    touches.sort(key=by_time)
    journeys: dict[int, list[tuple[Journey, State]]] = {}
    for plan in plans:
        folded, _ = fold_on(plan, [], touches, {})
        journeys[plan.map_id] = [(journey, state_of(journey, plan, clock)) for journey in folded]
        for counted in journeys[plan.map_id]:
            add_difference(rollups, plan, None, counted, clock)
    return journeys, traits_before([touch for touch in touches if touch.carries_traits], None)


def standing(rollups: Rollups) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Rollups without cells that have come to nothing: cohort -> (counts, value), flow -> n."""
    cohort = {
        name: (tuple(row.counts), row.value) for name, row in rollups.cohort.items() if any(row.counts) or row.value
    }
    return cohort, {name: n for name, n in rollups.flow.items() if n}
