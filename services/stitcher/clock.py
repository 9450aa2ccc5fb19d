"""Closes what time closes, up to the instant that all of the log is in for; one worker at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from services.stitcher.errors import Transient
from services.stitcher.journey.changes import changes, records
from services.stitcher.journey.facts import MINUTES_KEPT, SECONDS_KEPT, State, add_difference, state_of
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.rules import Plan
from services.stitcher.letters import Letters
from services.stitcher.ports import Changes, Profile
from services.stitcher.store import PostgresUnit, Store, sql
from services.stitcher.store.failures import translated
from services.stitcher.telemetry import Telemetry
from shared.eventlog.postgres import trim
from shared.tables import MINUTE_TIER, OPEN, SECOND_TIER, STATUSES
from shared.touchpoint import CHANGES, HOUR, REJECTED, TOUCHPOINTS

CLOCK_LOCK: Final = 0x7468726C_0002
TICK: Final = 0.5  # seconds
SWEEP: Final = 60.0  # seconds between two looks for what is no longer kept


class Clock:
    """The clock's instant is the table `clock`; journeys' status in the tables follows it."""

    name = "clock"
    lock = CLOCK_LOCK
    pause = TICK

    def __init__(
        self, store: Store, plans: Sequence[Plan], telemetry: Telemetry, batch: int, log_hours: float,
        letters: Letters | None = None,
    ) -> None:  # fmt: skip
        self._letters = letters
        self._pool, self._store, self._telemetry, self._batch, self._log_hours = (
            store.pool,
            store,
            telemetry,
            batch,
            log_hours,
        )
        self._plans = {plan.map_id: plan for plan in plans}
        self._swept = time.monotonic()

    async def turn(self) -> None:
        """Advances the clock and closes what is due by then; cleans up now and then."""
        clock = await self.advance()
        self._telemetry.clock_lag.set(max(0.0, time.time() - clock / 1e6))
        while await self.close_some(clock):
            pass
        while await self.postpone_some(clock):
            pass
        if time.monotonic() - self._swept > SWEEP:
            self._swept = time.monotonic()
            await self.sweep(time.time_ns() // 1000)

    async def advance(self) -> int:
        """Moves the clock to the instant that all partitions are complete for, never backwards; answers it."""
        with translated():
            return int(await self._pool.fetchval(sql.ADVANCE_CLOCK, TOUCHPOINTS) or 0)

    async def close_some(self, clock: int) -> bool:
        """Closes or stalls one batch of journeys in one transaction; whether there may be more."""
        try:
            async with self._store.unit() as unit:
                due = await unit.due(clock, self._batch)
                if not due:
                    return False
                closing = Closing(self._plans, clock)
                await closing.run(unit, due)
        except Transient:
            self._telemetry.retries.labels("clock").inc()
            return True
        for status, n in closing.counted.items():
            self._telemetry.closed.labels(status).inc(n)
        return bool(closing.counted)

    async def postpone_some(self, clock: int) -> bool:
        """Puts off one batch of what was looked at too early; whether there may be more."""
        with translated():
            moved = await self._pool.fetch(sql.POSTPONE, clock // HOUR, clock, self._batch)
        return len(moved) == self._batch

    async def sweep(self, now: int) -> None:
        """Deletes the short-lived tiers' old rows, and from the embedded log what everybody has read."""
        if self._letters is not None:
            await self._letters.sweep(now)
        with translated():
            for tier, kept in ((SECOND_TIER, SECONDS_KEPT), (MINUTE_TIER, MINUTES_KEPT)):
                await self._pool.execute(sql.SWEEP_FLOW, tier, now - kept)
            for topic, below in (await self._read()).items():
                while await trim(self._pool, topic, below, self._log_hours * 3600):
                    pass

    async def _read(self) -> dict[str, dict[int, int]]:
        """How far each topic of the embedded log has been read by all: topic -> partition -> offset."""
        found: dict[str, dict[int, int]] = {}
        for topic, partition, offset in await self._pool.fetch(sql.READ_UP_TO, [TOUCHPOINTS, REJECTED], CHANGES):
            found.setdefault(topic, {})[partition] = offset
        return found


class Closing:
    """One batch of due journeys on its way, as of ``clock``."""

    def __init__(self, plans: Mapping[int, Plan], clock: int) -> None:
        self._plans, self._clock = plans, clock
        self.changes = Changes()
        self.counted: Counter[str] = Counter()

    async def run(self, unit: PostgresUnit, due: Sequence[tuple[UUID, UUID]]) -> None:
        """Locks the components of those concerned, reads again, and writes what became of it."""
        await unit.lock(await unit.root_keys(profile_id for _, profile_id in due), ())
        journeys = await unit.journeys(journey_id for journey_id, _ in due)
        profiles = await unit.profiles({profile_id for _, profile_id in due})
        for profile_id, journey in sorted(journeys.values(), key=lambda one: (one[1].last_at, one[1].journey_id)):
            if profile_id in profiles:
                profiles[profile_id] = self.close(profiles[profile_id], journey)
        await unit.write(self.changes)

    def close(self, profile: Profile, journey: Journey) -> Profile:
        """Takes one journey to the clock; answers its profile, with the changes told counted."""
        assert journey.counted is not None, "a stored journey has been counted"
        plan = self._plans[journey.map_id]
        before, after = State(*journey.counted, None), state_of(journey, plan, self._clock)
        add_difference(self.changes.rollups, plan, (journey, before), (journey, after), self._clock)
        told = changes((journey, before), (journey, after))
        if told:
            id_ = profile.profile_id
            lines = records(told, plan, id_, profile.sequence, journey.journey_id, (journey, after))
            self.changes.outbox.extend([(id_, line) for line in lines])
            profile = self.changes.profiles[id_] = msgspec.structs.replace(
                profile, sequence=profile.sequence + len(told)
            )
        if before[:3] != after[:3]:
            self.counted[STATUSES[after.status] if after.status != OPEN else "stalled"] += 1
        journey.counted = after[:3]
        self.changes.journeys[journey.journey_id] = (profile.profile_id, journey)
        self.changes.due[journey.journey_id] = after.due_at
        return profile
