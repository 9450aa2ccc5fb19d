"""The core and the slow model, two readings of the design, agree on identity, journeys and rollups."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from services.stitcher.journey.rules import Plan
from services.stitcher.journey.scratch import fold_everything, standing
from shared.identifiers import IdentityRules
from shared.tables import DAY_TIER, HOUR_TIER
from shared.touchpoint import DAY, micros
from tests.support import datasets
from tests.support.compared import cohort_of, different, flow_of, journeys_of, of_product
from tests.support.slow_model import model
from tests.support.strategies import History, crowded_histories, histories, tangled_histories


def agree(history: History) -> None:
    """Fails with the first things that differ: what, in the core, in the model. A map's number is its place."""
    plans = [Plan(number, m) for number, m in enumerate(history.maps, 1)]
    core = fold_everything(history.records, plans, history.rules, history.clock)
    slow = model(history.touchpoints, history.commands, history.maps, history.rules, history.clock)
    assert different(core.owners, slow.owner) == []
    cohort, flow = standing(core.rollups)
    for number, m in enumerate(history.maps, 1):
        found = {
            (root, n): of_product(m, journey, journey.visits, state[:3], journey.early)
            for root, maps in core.journeys.items() for n, (journey, state) in enumerate(maps.get(number, ()))
        }  # fmt: skip
        assert different(found, journeys_of(slow, m)) == []
        assert different(tiers(cohort, number), cohort_of(slow, m)) == []
        assert different(tiers(flow, number), flow_of(slow, m)) == []


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


@settings(max_examples=150)
@given(tangled_histories())
def test_on_devices_that_users_share(history: History) -> None:
    agree(history)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_on_each_data_set(name: str) -> None:
    touchpoints = datasets.touchpoints(name)
    last = max(micros(one.time) for one in touchpoints)
    agree(History(touchpoints, [], [datasets.journey_map(name)], IdentityRules(), last + DAY))
