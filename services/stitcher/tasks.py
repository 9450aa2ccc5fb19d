"""What is done with the records of each topic: touchpoints are stitched, rejected ones kept as dead letters."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.stitcher.errors import Poison
from services.stitcher.journey.batch import Batch, gather
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import Undecodable
from services.stitcher.loop import letter
from services.stitcher.ports import DeadLetter
from services.stitcher.stitching import Outcome, stitch
from services.stitcher.store import PostgresUnit
from services.stitcher.telemetry import Telemetry
from shared.eventlog.port import Stored
from shared.identifiers import IdentityRules
from shared.touchpoint import REJECTED, micros


@dataclass(frozen=True, slots=True)
class Stitching:
    """Touchpoints and commands -> journeys. ``told`` is called when there may be something in the outbox."""

    plans: Sequence[Plan]
    rules: IdentityRules
    telemetry: Telemetry
    now: Callable[[], int]
    told: Callable[[], None]

    def prepare(self, records: Sequence[Stored]) -> tuple[Batch, list[DeadLetter]]:
        try:
            return gather((record.value for record in records), self.rules), []
        except (Undecodable, Poison):
            return self._apart(records)

    def _apart(self, records: Sequence[Stored]) -> tuple[Batch, list[DeadLetter]]:
        """Record by record, since some cannot be read."""
        good: list[bytes] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                gather((record.value,), self.rules)
            except (Undecodable, Poison) as error:
                letters.append(letter(record, Poison("undecodable", str(error))))
            else:
                good.append(record.value)
        return gather(good, self.rules), letters

    async def apply(self, unit: PostgresUnit, prepared: Batch, clock: int, now: int) -> Outcome:
        if not (prepared.touches or prepared.revocations or prepared.withdrawals):
            return Outcome(bots=prepared.bots)
        outcome = await stitch(unit, prepared, self.plans, self.rules, clock, now)
        outcome.bots = prepared.bots
        return outcome

    def applied(self, outcome: Outcome) -> None:
        self.telemetry.skipped.labels("bot").inc(outcome.bots)
        self.telemetry.stitched.inc(outcome.stitched)
        self.telemetry.duplicates.inc(outcome.duplicates)
        for cause, count in outcome.refolds.items():
            self.telemetry.refolds.labels(cause).inc(count)
        if outcome.received_at:
            self.telemetry.fresh(outcome.received_at, self.now())
            self.told()


class _Rejected(msgspec.Struct):
    """What the edge says about a touchpoint that it refused, and what was sent."""

    source: str = ""
    reason: str = "unknown"
    message: str = ""
    received_at: datetime | None = None
    encoding: str = "utf-8"
    data: str = ""
    request: str = ""

    def sent(self) -> bytes:
        return b64decode(self.data) if self.encoding == "base64" else self.data.encode()


_rejected = msgspec.json.Decoder(_Rejected)


@dataclass(frozen=True, slots=True)
class Rejections:
    """Records of touchpoints.rejected -> dead letters."""

    telemetry: Telemetry

    def prepare(self, records: Sequence[Stored]) -> tuple[list[DeadLetter], list[DeadLetter]]:
        return [_as_letter(record) for record in records], []

    async def apply(self, unit: PostgresUnit, prepared: list[DeadLetter], clock: int, now: int) -> list[DeadLetter]:
        if prepared:
            await unit.bury(REJECTED, prepared, now)
        return prepared

    def applied(self, outcome: list[DeadLetter]) -> None:
        for one in outcome:
            self.telemetry.dead_letters.labels(REJECTED, one.reason).inc()


def _as_letter(record: Stored) -> DeadLetter:
    try:
        said = _rejected.decode(record.value)
        data = said.sent()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return letter(record, Poison("undecodable", "not what ingest writes about a refused touchpoint"))
    source, reason, message = (text.replace("\x00", "") for text in (said.source, said.reason, said.message))
    return DeadLetter(
        record.partition, record.offset, source, reason, message, data,
        received_at=micros(said.received_at) if said.received_at else None,
        request=said.request.replace("\x00", ""),
        sealed=said.encoding == "sealed",
    )  # fmt: skip
