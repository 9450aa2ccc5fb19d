"""One shape for what the core, the tables and the slow model say, and what differs between two of them."""

from __future__ import annotations

from typing import Any, Final

from shared.journey_map import JourneyMap
from shared.tables import STATUSES
from tests.support import slow_rollups
from tests.support.slow_model import Journey, Model, flat

SAME: Final = (
    "started_at", "last_at", "deadline", "converted_at", "value", "channel", "acquisition", "source", "furthest",
    "touchpoints",
)  # fmt: skip


def of_model(journey: Journey) -> Journey:
    """A journey of the slow model; visits as tuples."""
    return {
        "visits": [
            (v["stage"], v["entered_at"], v["cause"], v["last_at"], v["touchpoints"], v["experience"], v["moments"])
            for v in journey["visits"]
        ],
        "early": journey["closed_early"],
    } | {name: journey[name] for name in (*SAME, "status", "stalled", "closed_at", "segments")}  # fmt: skip


def of_product(
    m: JourneyMap, journey: Any, visits: list[Any], state: tuple[int, bool, int | None], early: bool
) -> Journey:
    """A journey of the core, or a row of `journeys`, with its visits and (status, stalled, closed_at)."""
    status, stalled, closed_at = state
    return {
        "visits": [
            (m.stages[v.stage].name, v.entered_at, v.cause, v.last_at, v.touchpoints, (v.felt, v.felt_n),
             {m.moments[place].name: n for place, n in v.moments.items()})
            for v in visits
        ],
        "status": STATUSES[status], "stalled": stalled, "closed_at": closed_at, "early": early,
        "segments": sorted(journey.segments),
    } | {name: getattr(journey, name) for name in SAME}  # fmt: skip


def journeys_of(slow: Model, m: JourneyMap) -> dict[Any, Journey]:
    """(root, place among the profile's) -> journey."""
    theirs = slow.journeys[m.map, m.version].items()
    return {(root, n): of_model(journey) for root, journeys in theirs for n, journey in enumerate(journeys)}


def cohort_of(slow: Model, m: JourneyMap) -> dict[Any, Any]:
    sums = slow_rollups.cohort(m, flat(slow, m)).items()
    return {name: (tuple(counts), value) for name, (counts, value) in sums}


def flow_of(slow: Model, m: JourneyMap) -> dict[Any, int]:
    return dict(slow_rollups.flow(m, flat(slow, m)))


def different(product: dict[Any, Any], slow: dict[Any, Any]) -> list[Any]:
    """The first things that differ: which, what the product says, what the model says."""
    names = [name for name in {**product, **slow} if product.get(name) != slow.get(name)]
    return [(name, *_apart(product.get(name), slow.get(name))) for name in names[:3]]


def _apart(product: Any, slow: Any) -> tuple[Any, Any]:
    """Of two journeys only the fields that differ."""
    if not (isinstance(product, dict) and isinstance(slow, dict)):
        return product, slow
    names = [name for name in slow if product[name] != slow[name]]
    return {name: product[name] for name in names}, {name: slow[name] for name in names}
