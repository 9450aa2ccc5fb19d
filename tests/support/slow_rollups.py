"""What the rollup tables must hold, counted journey by journey from the slow model."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

from shared.journey_map import JourneyMap
from shared.tables import BUCKET_GROWTH, DAY_TIER, HOUR_TIER, NO_BUCKET, START, TO_COMPLETED, TO_LOST, CohortLayout
from shared.touchpoint import SECOND
from tests.support.slow_model import Journey, added, interval_start, steps

Cut = tuple[str, str, str, str]  # segment, channel, acquisition, source
TIERS: Final = ((HOUR_TIER, "hour"), (DAY_TIER, "day"))
ENDS: Final = [SECOND * Fraction(str(BUCKET_GROWTH)) ** n for n in range(300)]  # of the buckets, exactly


def cuts(journey: Journey) -> list[Cut]:
    """The cells that a journey is counted in: the one of all, and one a segment."""
    return [
        (name, journey["channel"], journey["acquisition"], journey["source"]) for name in ["", *journey["segments"]]
    ]


def cohort(m: JourneyMap, journeys: Iterable[Journey]) -> dict[tuple[Cut, int, int], tuple[list[int], int]]:
    """(cut, tier, at) -> (counts, value)."""
    layout = CohortLayout(len(m.stages), len(m.moments))
    sums: dict[Any, tuple[list[int], int]] = defaultdict(lambda: ([0] * layout.width, 0))
    for journey in journeys:
        mine = counts(m, layout, journey)
        for cell in cells(m, journey, journey["started_at"]):
            before, value = sums[cell]
            sums[cell] = [n + mine.get(place, 0) for place, n in enumerate(before)], value + journey["value"]
    return dict(sums)


def cells(m: JourneyMap, journey: Journey, at: int) -> list[tuple[Cut, int, int]]:
    return [(cut, tier, interval_start(at, m.zone, name)) for cut in cuts(journey) for tier, name in TIERS]


def counts(m: JourneyMap, layout: CohortLayout, journey: Journey) -> dict[int, int]:
    visits, last = journey["visits"], journey["visits"][-1]["position"]
    state = {"completed": layout.CLOSED_COMPLETED, "lost": layout.CLOSED_LOST}.get(journey["status"])
    if state is None:
        state = layout.OPEN_NEW if journey["converted_at"] is None else layout.OPEN_CONVERTED
    names = [moment.name for moment in m.moments]
    return added([
        {layout.left(journey["furthest"], state): 1},
        {layout.at(last, state): 1},
        {layout.at(last, layout.STALLED): int(journey["stalled"])},
        {layout.entered(stage): 1 for stage in {visit["position"] for visit in visits}},
        *({layout.touchpoints(visit["position"]): visit["touchpoints"]} for visit in visits),
        *({layout.felt(visit["position"]): visit["experience"][0]} for visit in visits),
        *({layout.felt_n(visit["position"]): visit["experience"][1]} for visit in visits),
        {layout.moment(names.index(name)): n for name, n in journey["moments"].items()},
    ])  # fmt: skip


def flow(m: JourneyMap, journeys: Iterable[Journey]) -> Counter[tuple[Cut, int, int, int, int, int]]:
    """(cut, tier, at, from, to, bucket) -> n."""
    places = {stage.name: n for n, stage in enumerate(m.stages)} | {"completed": TO_COMPLETED, "lost": TO_LOST}
    found: Counter[Any] = Counter()
    for journey in journeys:
        for left, entered, at, spent in steps(journey):
            where = (
                START if left is None else places[left],
                places[entered],
                NO_BUCKET if spent is None else bucket(spent),
            )
            found.update([(*cell, *where) for cell in cells(m, journey, at)])
    return found


def bucket(spent: int) -> int:
    """0 below a second, then each a tenth wider than the one before."""
    return bisect_right(ENDS, spent)
