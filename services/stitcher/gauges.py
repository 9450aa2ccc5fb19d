"""Journeys by status and stage, from the rollups, now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from services.stitcher.errors import Transient, Unavailable
from services.stitcher.journey.rules import Plan
from services.stitcher.store.failures import translated
from services.stitcher.telemetry import Telemetry
from shared.tables import DAY_TIER, STATUSES, CohortLayout

log = structlog.get_logger(__name__)

EVERY: Final = 15.0  # seconds

# The day tier's counts of a map, all channels and sources together, place by place.
TOTALS: Final = """
    select place, sum(n)::bigint
    from cells c
    join rollup_cohort r on r.cell_id = c.cell_id and r.tier = $2
    cross join unnest(r.counts) with ordinality as g(n, place)
    where c.map_id = $1 and c.segment = ''
    group by place
"""


class Gauges:
    """Keeps the gauges of `Telemetry` up to date."""

    def __init__(self, pool: Any, plans: Sequence[Plan], telemetry: Telemetry) -> None:
        self._pool, self._plans, self._telemetry = pool, plans, telemetry
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                for plan in self._plans:
                    await self._tell(plan)
            except (Transient, Unavailable) as error:
                log.info("gauges are late", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY)

    async def _tell(self, plan: Plan) -> None:
        with translated():
            rows = await self._pool.fetch(TOTALS, plan.map_id, DAY_TIER)
        totals = {row[0] - 1: row[1] for row in rows}
        labels = (plan.name, str(plan.version))
        for status, n in zip(STATUSES, by_status(totals, plan.layout), strict=True):
            self._telemetry.journeys.labels(*labels, status).set(n)
        for position, stage in enumerate(plan.definition.stages):
            self._telemetry.stages.labels(*labels, stage.name).set(open_in(totals, plan.layout, position))


def by_status(totals: Mapping[int, int], layout: CohortLayout) -> Iterable[int]:
    """Journeys that are open, completed, lost."""
    for states in ((layout.OPEN_NEW, layout.OPEN_CONVERTED), (layout.CLOSED_COMPLETED,), (layout.CLOSED_LOST,)):
        yield sum(totals.get(layout.left(stage, state), 0) for stage in range(layout.stages) for state in states)


def open_in(totals: Mapping[int, int], layout: CohortLayout, stage: int) -> int:
    """Open journeys in a stage."""
    return sum(totals.get(layout.at(stage, state), 0) for state in (layout.OPEN_NEW, layout.OPEN_CONVERTED))
