"""The core and the slow model, two readings of the design, agree on identity, journeys and rollups."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from services.stitcher.journey.rules import Plan
from services.stitcher.journey.scratch import Result, fold_everything, standing
from shared.identifiers import IdentityRules
from shared.journey_map import JourneyMap
from shared.tables import DAY_TIER, HOUR_TIER, STATUSES
from shared.touchpoint import DAY, micros
from tests.support import datasets, slow_rollups
from tests.support.slow_model import Journey, Model, flat, model
from tests.support.strategies import History, crowded_histories, histories


def folded(history: History) -> Result:
    """What the core says; the number of a map is its place from 1 on."""
    plans = [Plan(number, m) for number, m in enumerate(history.maps, 1)]
    return fold_everything(history.records, plans, history.rules, history.clock)


def expected(history: History) -> Model:
    return model(history.touchpoints, history.commands, history.maps, history.rules, history.clock)


def of_core(m: JourneyMap, journey: Any, state: Any) -> Journey:
    """A journey of the core in the words of the slow model."""
    return {
        "visits": [
            (m.stages[v.stage].name, v.entered_at, v.cause, v.last_at, v.touchpoints, (v.felt, v.felt_n),
             {m.moments[place].name: n for place, n in v.moments.items()})
            for v in journey.visits
        ],
        "status": STATUSES[state.status], "stalled": state.stalled, "closed_at": state.closed_at, "early": journey.early,
        "segments": sorted(journey.segments),
    } | {name: getattr(journey, name) for name in SAME}  # fmt: skip


SAME = (
    "started_at", "last_at", "deadline", "converted_at", "value", "channel", "acquisition", "source", "furthest",
    "touchpoints",
)  # fmt: skip


def of_model(journey: Journey) -> Journey:
    """The same of a journey of the slow model."""
    return {
        "visits": [
            (v["stage"], v["entered_at"], v["cause"], v["last_at"], v["touchpoints"], v["experience"], v["moments"])
            for v in journey["visits"]
        ],
        "early": journey["closed_early"],
    } | {name: journey[name] for name in (*SAME, "status", "stalled", "closed_at", "segments")}  # fmt: skip


def agree(history: History) -> None:
    """Fails with the first things that differ: what, in the core, in the model."""
    core, slow = folded(history), expected(history)
    assert different(core.owners, slow.owner) == []
    for number, m in enumerate(history.maps, 1):
        found = {
            (root, n): of_core(m, journey, state)
            for root, maps in core.journeys.items() for n, (journey, state) in enumerate(maps.get(number, ()))
        }  # fmt: skip
        theirs = slow.journeys[m.map, m.version].items()
        assert different(found, {(root, n): of_model(j) for root, js in theirs for n, j in enumerate(js)}) == []
        rollups_agree(core, number, m, flat(slow, m))


def different(core: dict[Any, Any], slow: dict[Any, Any]) -> list[Any]:
    names = [name for name in {**core, **slow} if core.get(name) != slow.get(name)]
    return [(name, *apart(core.get(name), slow.get(name))) for name in names[:3]]


def apart(core: Any, slow: Any) -> tuple[Any, Any]:
    """Of two journeys only the fields that differ."""
    if not (isinstance(core, dict) and isinstance(slow, dict)):
        return core, slow
    names = [name for name in slow if core[name] != slow[name]]
    return {name: core[name] for name in names}, {name: slow[name] for name in names}


def rollups_agree(core: Result, number: int, m: JourneyMap, journeys: list[Journey]) -> None:
    cohort, flow = standing(core.rollups)
    counted = slow_rollups.cohort(m, journeys).items()
    assert different(tiers(cohort, number), {name: (tuple(counts), value) for name, (counts, value) in counted}) == []
    assert different(tiers(flow, number), dict(slow_rollups.flow(m, journeys))) == []


def tiers(rollup: Any, number: int) -> dict[Any, Any]:
    """The hours and days of one map: the tiers that are kept for ever."""
    return {
        ((cell.segment, cell.channel, cell.acquisition, cell.source), tier, *rest): value
        for (cell, tier, *rest), value in rollup.items() if cell.map_id == number and tier in (HOUR_TIER, DAY_TIER)
    }  # fmt: skip


@settings(max_examples=300)
@given(histories())
def test_on_any_history(history: History) -> None:
    agree(history)


@settings(max_examples=150)
@given(crowded_histories())
def test_on_one_customer_who_does_everything_at_once(history: History) -> None:
    agree(history)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_on_each_data_set(name: str) -> None:
    touchpoints = datasets.touchpoints(name)
    last = max(micros(one.time) for one in touchpoints)
    agree(History(touchpoints, [], [datasets.journey_map(name)], IdentityRules(), last + DAY))
