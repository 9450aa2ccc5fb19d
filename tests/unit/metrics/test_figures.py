"""The arithmetic that always holds, and figures checked by hand."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.analysis.conversion import CohortRow, TooManyPoints, conversion
from services.metrics.analysis.drop_off import drop_off, wilson
from services.metrics.analysis.funnel import funnel
from services.metrics.analysis.now import Move, newly_counted, now
from services.metrics.analysis.transitions import FlowRow, median, middle, transitions
from services.metrics.analysis.windows import Window
from shared.journey_map import JourneyMap, parse_map
from shared.tables import BUCKET_GROWTH, NO_BUCKET, START, TO_COMPLETED, TO_LOST, CohortLayout
from shared.touchpoint import HOUR

UTC = ZoneInfo("UTC")
MAP = parse_map("map: m\nstages: [{name: a, when: [{event: A}]}, {name: b, when: [{event: B}]}]", "test")
LAYOUT = CohortLayout(2, 0)


def of_stages(count: int) -> JourneyMap:
    stages = ", ".join(f"{{name: s{number}, when: [{{event: E{number}}}]}}" for number in range(count))
    return parse_map(f"map: m\nstages: [{stages}]", "test")


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.integers(0, 10**9), min_size=4 * n, max_size=4 * n)))
def test_nothing_vanishes_between_stages(left: list[int]) -> None:
    found = funnel(of_stages(len(left) // 4), dict(enumerate(left)))
    reached = [stage.reached for stage in found.stages] + [0]
    for position, stage in enumerate(found.stages):
        assert reached[position] - reached[position + 1] == stage.left.open + stage.left.lost + stage.left.completed
    journeys = found.journeys
    assert reached[0] == journeys.started == journeys.open + journeys.completed + journeys.lost == sum(left)


def test_converted_are_the_completed_and_the_open_ones_that_have() -> None:
    counts = {
        LAYOUT.left(0, LAYOUT.OPEN_CONVERTED): 2,
        LAYOUT.left(1, LAYOUT.CLOSED_COMPLETED): 3,
        LAYOUT.left(1, 0): 5,
    }
    journeys = funnel(MAP, counts).journeys
    assert (journeys.open, journeys.completed, journeys.converted) == (7, 3, 5)


def test_experience_is_a_mean_with_its_n() -> None:
    stages = funnel(MAP, {LAYOUT.felt(1): -1_500_000, LAYOUT.felt_n(1): 3}).stages
    assert (stages[0].experience.mean, stages[0].experience.n) == (None, 0)
    assert (stages[1].experience.mean, stages[1].experience.n) == (-0.5, 3)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (53, 590, 0.06941, 0.11561), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_intervals_are_the_published_ones(part: int, whole: int, low: float, high: float) -> None:
    interval = wilson(part, whole)
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10**9).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_an_interval_holds_its_share_and_stays_within_bounds(pair: tuple[int, int]) -> None:
    interval = wilson(*pair)
    assert interval is not None
    assert 0 <= interval[0] <= pair[0] / pair[1] <= interval[1] <= 1


def test_what_nobody_entered_has_no_share() -> None:
    assert wilson(0, 0) is None
    stage = drop_off(MAP, {})[0]
    assert (stage.share, stage.interval, stage.lost) == (None, None, 0)


def test_drop_off_is_by_the_last_stage() -> None:
    counts = {LAYOUT.entered(0): 8, LAYOUT.at(0, LAYOUT.CLOSED_LOST): 2, LAYOUT.left(1, LAYOUT.CLOSED_LOST): 2}
    assert [(stage.lost, stage.share) for stage in drop_off(MAP, counts)] == [(2, 0.25), (0, None)]


@given(st.integers(1, 10**7))
def test_a_bucket_is_at_most_five_percent_off(milliseconds: int) -> None:
    seconds = 1 + milliseconds / 1000
    bucket = 1 + int(math.log(seconds) / math.log(BUCKET_GROWTH))
    assert abs(middle(bucket) / seconds - 1) < 0.0489


def test_the_median_of_an_even_number_lies_between_the_two_in_the_middle() -> None:
    assert median({1: 2, 30: 2}) == pytest.approx((middle(1) + middle(30)) / 2, abs=1e-3)
    assert median({1: 2, 30: 3}) == pytest.approx(middle(30), abs=1e-3)
    assert median({0: 1}) == 0.5
    assert median({NO_BUCKET: 4}) is None


def test_transitions_begin_with_starts_and_end_with_ends() -> None:
    rows = [
        FlowRow(1, TO_LOST, 3, 1), FlowRow(1, TO_COMPLETED, 3, 2), FlowRow(0, 1, 5, 3), FlowRow(0, 1, 6, 1),
        FlowRow(1, 0, 5, 1), FlowRow(START, 0, NO_BUCKET, 4), FlowRow(START, 1, NO_BUCKET, 0),
    ]  # fmt: skip
    assert [(one.from_stage, one.to, one.count) for one in transitions(MAP, rows)] == [
        (None, "a", 4), ("a", "b", 4), ("b", "a", 1), ("b", "completed", 2), ("b", "lost", 1),
    ]  # fmt: skip
    assert transitions(MAP, rows)[0].median_seconds is None


def test_a_series_has_no_gaps_and_fills_the_range() -> None:
    rows = [CohortRow(2 * HOUR, (1, 1, 2, 1), 3_000_000)]
    series = conversion(rows, Window(0, 4 * HOUR), "hour", UTC)
    assert [point.start for point in series] == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert [point.rate for point in series] == [None, None, 0.6, None]
    assert (series[2].started, series[2].open, series[2].converted) == (5, 2, 3)


def test_without_a_range_a_series_goes_from_the_first_to_the_last_journey() -> None:
    rows = [CohortRow(0, (1, 0, 0, 0), 0), CohortRow(3 * 24 * HOUR, (1, 0, 0, 0), 0)]
    assert [point.started for point in conversion(rows, Window(), "day", UTC)] == [1, 0, 0, 1]
    assert conversion([], Window(), "day", UTC) == []


def test_half_a_range_is_filled_up_to_the_journeys() -> None:
    rows = [CohortRow(2 * HOUR, (1, 0, 0, 0), 0)]
    assert len(conversion(rows, Window(since=0), "hour", UTC)) == 3
    assert len(conversion(rows, Window(until=5 * HOUR), "hour", UTC)) == 3
    assert conversion([], Window(since=0), "hour", UTC) == []


def test_an_empty_range_has_no_points() -> None:
    assert conversion([], Window(5, 5), "hour", UTC) == []


def test_a_series_that_nobody_could_read_is_refused() -> None:
    with pytest.raises(TooManyPoints):
        conversion([], Window(0, 10_002 * HOUR), "hour", UTC)


def test_now_adds_up_what_came_and_went() -> None:
    counts = {LAYOUT.at(0, LAYOUT.OPEN_NEW): 2, LAYOUT.at(0, LAYOUT.OPEN_CONVERTED): 1, LAYOUT.at(0, LAYOUT.STALLED): 1}
    moves = [Move("1m", START, 0, 2), Move("1h", START, 0, 3), Move("1h", 0, 1, 2), Move("24h", 1, TO_LOST, 1)]
    first, second = now(MAP, counts, moves)
    assert (first.open, first.stalled) == (3, 1)
    assert (first.entered, first.left) == ({"1m": 2, "1h": 3, "24h": 0}, {"1m": 0, "1h": 2, "24h": 0})
    assert (second.entered, second.left) == ({"1m": 0, "1h": 2, "24h": 0}, {"1m": 0, "1h": 0, "24h": 1})


def test_a_transition_is_told_once() -> None:
    before = {(10, START, 0): 2, (10, 0, 1): 3}
    after = {(10, START, 0): 2, (10, 0, 1): 2, (11, 0, 1): 4, (11, 1, TO_LOST): 1}
    assert newly_counted(before, after) == {(0, 1): 3, (1, TO_LOST): 1}
