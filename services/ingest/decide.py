"""The touchpoints of one request, decided one after the other, become records of the log. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.ingest.accept import Intake, accept
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.encode import record_of
from services.ingest.plain import Plain
from services.ingest.reasons import Rejection
from shared.eventlog.port import Headers, Record


class Decided(NamedTuple):
    """The records of what is accepted, what is rejected by its place, and why identifiers were dropped."""

    records: list[Record]
    rejected: list[tuple[int, Rejection]]
    dropped: list[str]


def decide(items: Iterable[RawTouchpoint | None], plain: Plain, intake: Intake, shared: Headers) -> Decided:
    """``shared`` are the headers that all records begin with."""
    decided = records, rejected, dropped = Decided([], [], [])
    for index, raw in enumerate(items):
        decision = (plain.decide(raw) if raw is not None else None) or accept(raw, intake)
        if isinstance(decision, Rejection):
            rejected.append((index, decision))
        else:
            records.append(record_of(decision, shared))
            dropped += decision.dropped
    return decided
