"""What stands open and what moved lately -> the map at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.metrics.analysis.funnel import Counts, layout_of
from shared.journey_map import JourneyMap

WINDOWS: Final = ("1m", "1h", "24h")

Counted = Mapping[tuple[int, int, int], int]
"""(second, from stage, to stage) -> how many were counted there so far."""


@dataclass(frozen=True, slots=True)
class Move:
    """How many moved from one stage to another within one of the WINDOWS."""

    window: str
    from_stage: int
    to_stage: int
    n: int


@dataclass(frozen=True, slots=True)
class StageNow:
    """One stage at this moment; ``entered`` and ``left`` by window."""

    stage: str
    position: int
    open: int
    stalled: int
    entered: dict[str, int]
    left: dict[str, int]


def now(journey_map: JourneyMap, counts: Counts, moves: Iterable[Move]) -> list[StageNow]:
    """Each stage with the journeys that are in it and those that came and went."""
    layout, moved = layout_of(journey_map), list(moves)

    def total(window: str, side: str, position: int) -> int:
        return sum(move.n for move in moved if move.window == window and getattr(move, side) == position)

    def stage(position: int, name: str) -> StageNow:
        standing = (counts.get(layout.at(position, state), 0) for state in (layout.OPEN_NEW, layout.OPEN_CONVERTED))
        return StageNow(
            stage=name,
            position=position,
            open=sum(standing),
            stalled=counts.get(layout.at(position, layout.STALLED), 0),
            entered={window: total(window, "to_stage", position) for window in WINDOWS},
            left={window: total(window, "from_stage", position) for window in WINDOWS},
        )

    return [stage(position, each.name) for position, each in enumerate(journey_map.stages)]


def newly_counted(before: Counted, after: Counted) -> dict[tuple[int, int], int]:
    """By (from, to) what came in between two readings; what was taken back is not told."""
    found: dict[tuple[int, int], int] = {}
    for (second, origin, to), n in after.items():
        more = n - before.get((second, origin, to), 0)
        found[origin, to] = found.get((origin, to), 0) + more
    return {pair: n for pair, n in sorted(found.items()) if n > 0}
