"""What is packed in the tables: the numbers that columns hold, and the two things that are more than a number.

Instants are microseconds since 1970-01-01 UTC, money is in millionths. The tables themselves stand in
deploy/migrations/schema.py, which no service loads.
"""

from __future__ import annotations

from typing import Final

import msgspec

# --- Journeys --------------------------------------------------------------------------------------------------------

OPEN: Final = 0
COMPLETED: Final = 1
LOST: Final = 2
STATUSES: Final = ("open", "completed", "lost")


class Visit(msgspec.Struct, array_like=True, gc=False):
    """One stay in a stage, packed in ``journeys.visits``; additive, so that a journey is the sum of its visits.

    ``entered_at`` and ``last_at`` are the times of its first and last touchpoint, ``cause`` the id of the first.
    ``goals`` counts goal touchpoints, the first at ``goal_at``; ``value`` and ``felt`` (sum of experience) are in
    millionths, ``felt_n`` says how many touchpoints had an experience; ``moments`` counts by place in the map.
    """

    stage: int
    entered_at: int
    cause: str
    last_at: int
    touchpoints: int = 1
    goals: int = 0
    goal_at: int | None = None
    goal_cause: str = ""
    value: int = 0
    felt: int = 0
    felt_n: int = 0
    moments: dict[int, int] = {}


# --- Rollups ---------------------------------------------------------------------------------------------------------

SECOND_TIER: Final = 0  # kept two hours, for "the last minute"
MINUTE_TIER: Final = 1  # kept two days, for "the last hour" and "the last 24 hours"
HOUR_TIER: Final = 2  # hours and days of the map's time zone, stored by the instant they begin
DAY_TIER: Final = 3

START: Final = -1
TO_COMPLETED: Final = -1
TO_LOST: Final = -2
NO_BUCKET: Final = -1  # journey starts, and the tiers of seconds and minutes


class CohortLayout:
    """Where a count stands in ``rollup_cohort.counts``, 0-based (SQL arrays are 1-based: add 1).

    Blocks of one number a stage: ``left`` by furthest stage and state, ``at`` by last stage and state, then
    ``entered``, ``touchpoints``, ``felt`` (millionths), ``felt_n``; last one number a moment of the map.
    States are OPEN_NEW (open, not converted), OPEN_CONVERTED, CLOSED_COMPLETED, CLOSED_LOST; ``at`` has STALLED after
    them, which counts open journeys a second time.
    """

    OPEN_NEW: Final = 0
    OPEN_CONVERTED: Final = 1
    CLOSED_COMPLETED: Final = 2
    CLOSED_LOST: Final = 3
    STALLED: Final = 4

    def __init__(self, stages: int, moments: int) -> None:
        self.stages, self.moments = stages, moments
        self.width = 13 * stages + moments

    def left(self, furthest: int, state: int) -> int:
        return 4 * furthest + state

    def at(self, stage: int, state: int) -> int:
        return 4 * self.stages + 5 * stage + state

    def entered(self, stage: int) -> int:
        return 9 * self.stages + stage

    def touchpoints(self, stage: int) -> int:
        return 10 * self.stages + stage

    def felt(self, stage: int) -> int:
        return 11 * self.stages + stage

    def felt_n(self, stage: int) -> int:
        return 12 * self.stages + stage

    def moment(self, place: int) -> int:
        return 13 * self.stages + place


BUCKET_GROWTH: Final = 1.1  # each bucket ends 10 % after it begins: its middle is at most 4.9 % off
