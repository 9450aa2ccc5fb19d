"""Dead letters judged again: read in their order, decided by ingest's own rules, put on the log, marked."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import asyncpg
import stamina

from services.ingest.accept import Accepted, Intake
from services.ingest.configuration import Configuration, read_configuration
from services.ingest.encode import touchpoint_record
from services.ingest.reasons import Rejection
from services.ingest.redrive import judge, resent
from services.ingest.settings import IngestSettings
from services.ingest.times import Arrival
from shared.eventlog.open import open_appender
from shared.eventlog.port import Appender, LogUnavailable, Record
from shared.identifiers import IdentityRules, load_identity, named
from shared.seals import Seals, seals_of
from shared.touchpoint import REJECTED, TOUCHPOINTS, moment
from throughline.importing import TRACEPARENT

AT_A_TIME: Final = 500
ACCEPTED: Final = "accepted"
SKIPPED: Final = "skipped"  # the mapping of today makes nothing of it

# Says of letters what their redrive came to.
MARK: Final = """
    update dead_letters d set redriven_at = $1, outcome = g.outcome
    from unnest($2::bigint[], $3::text[]) as g(id, outcome) where d.id = g.id
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of the table; instants in microseconds."""

    COLUMNS: ClassVar = (
        "id", "at", "topic", "partition", '"offset"', "source", "reason", "message", "data", "received_at", "request",
        "sealed", "redriven_at", "outcome",
    )  # fmt: skip
    id: int
    at: int
    topic: str
    partition: int
    offset: int
    source: str
    reason: str
    message: str
    data: bytes
    received_at: int | None
    request: str
    sealed: bool
    redriven_at: int | None
    outcome: str | None

    @property
    def place(self) -> str:
        """Where its record lay on the log."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    def opened(self, seals: Seals | None) -> tuple[bytes, str]:
        """What was sent, and what is kept of its request; ValueError if it is sealed and the key is missing."""
        if not self.sealed:
            return self.data, self.request
        if seals is None:
            raise ValueError(f"dead letter {self.id} is sealed; set THROUGHLINE_DEADLETTER_KEY")
        return seals.open(self.data), seals.open(self.request.encode()).decode()


@dataclass(slots=True)
class Redriven:
    """What became of the letters, by reason; ``left``: those that could not be judged, by why."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


async def redrive(
    settings: IngestSettings, statement: str, filters: tuple[Any, ...], *, again: bool, limit: int | None, dry_run: bool
) -> Redriven:  # fmt: skip
    """Judges those that ``statement`` gives for its filters, the topic, the last id, ``again`` and a number."""
    found = read_configuration(settings, lambda: datetime.now(UTC))
    judging = Judging(found, load_identity(settings.throughline_config), seals_of(settings.throughline_deadletter_key))
    connection = await asyncpg.connect(settings.database_url)
    appender = open_appender(settings)
    told, last, rest = Redriven(), 0, 2**62 if limit is None else limit
    try:
        await appender.start()
        while rest > 0:
            rows = await connection.fetch(statement, *filters, REJECTED, last, again, min(rest, AT_A_TIME))
            letters = [Letter(*row) for row in rows]
            if not letters:
                break
            last, rest = letters[-1].id, rest - len(letters)
            outcomes = [(letter, judging.outcome(letter)) for letter in letters]
            _count(told, outcomes)
            if not dry_run:
                await _settle(connection, appender, outcomes)
    finally:
        await appender.stop()
        await connection.close()
    return told


Outcome = list[Accepted | Rejection] | str
"""What is made of a letter, mostly one touchpoint; a str says why it is left as it is."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What decides about letters: today's configuration."""

    configuration: Configuration
    rules: IdentityRules
    seals: Seals | None

    def outcome(self, letter: Letter) -> Outcome:
        sender = self.configuration.senders.named(letter.source)
        if sender is None:
            return f"no source is called {letter.source!r} any more"
        try:
            data, request = letter.opened(self.seals)
        except ValueError as error:
            return str(error) if letter.sealed and self.seals else "sealed; set THROUGHLINE_DEADLETTER_KEY"
        if not data:
            return "nothing was kept of it, as its source wants"
        received_at = moment(letter.at if letter.received_at is None else letter.received_at)
        call = resent(request, data)
        count = itertools.count()
        policy = sender.policy.after_cover() if call.is_covered else sender.policy
        intake = Intake(
            source=sender.source, policy=policy.on(call.headers), arrival=Arrival(at=received_at), rules=self.rules,
            new_id=lambda: str(named(f"{letter.place}/{next(count)}")),
        )  # fmt: skip
        return judge(call, self.configuration.routes, received_at, intake)


def _count(told: Redriven, outcomes: list[tuple[Letter, Outcome]]) -> None:
    for _, outcome in outcomes:
        if isinstance(outcome, str):
            told.left[outcome] += 1
        else:
            told.accepted += len(_accepted(outcome))
            told.rejected.update(one.reason for one in outcome if isinstance(one, Rejection))


def _accepted(outcome: list[Accepted | Rejection]) -> list[Accepted]:
    return [one for one in outcome if isinstance(one, Accepted)]


def _mark(outcome: list[Accepted | Rejection]) -> str:
    """One word for the table: the reason to reject, if any of it is rejected."""
    return next((one.reason for one in outcome if isinstance(one, Rejection)), ACCEPTED if outcome else SKIPPED)


async def _settle(connection: Any, appender: Appender, outcomes: list[tuple[Letter, Outcome]]) -> None:
    """On the log first, then marked: what stops in between is redriven again, and counts once."""
    records: list[Record] = []
    marks: list[tuple[int, str]] = []
    for letter, outcome in outcomes:
        if not isinstance(outcome, str):
            source = letter.source.encode()
            records += [touchpoint_record(one, TRACEPARENT, source) for one in _accepted(outcome)]
            marks.append((letter.id, _mark(outcome)))
    async for attempt in stamina.retry_context(on=LogUnavailable, attempts=20, timeout=120):
        with attempt:
            await appender.append(TOUCHPOINTS, records)
    now = time.time_ns() // 1000
    await connection.execute(MARK, now, [id_ for id_, _ in marks], [outcome for _, outcome in marks])
