"""What became of the rows of an import, and how it is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.ingest.accept import Accepted
from services.ingest.reasons import Rejection

EXAMPLES: Final = 3  # of each reason
EVENTS: Final = 40  # that a dry run lists, the most frequent ones
SHOWN: Final = 200  # characters of an example


@dataclass(slots=True)
class Tally:
    """Counts. ``events``: accepted ones by type and name; ``flags``: of accepted ones; ``damaged``: a sentence for each
    file that ends too early."""

    before: int = 0
    accepted: int = 0
    events: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def found_a_problem(self) -> bool:
        return bool(self.rejected or self.damaged)

    def accept(self, accepted: Accepted) -> None:
        self.accepted += 1
        touchpoint = accepted.touchpoint
        self.flags.update(touchpoint.flags)
        self.events[f"{touchpoint.type} {touchpoint.event}" if touchpoint.event else touchpoint.type] += 1

    def reject(self, rejection: Rejection, original: str) -> None:
        """``rejection.message`` begins with the file and the line."""
        self.rejected[rejection.reason] += 1
        examples = self.examples.setdefault(rejection.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{rejection.message}\n    {shortened(original)}")

    def done(self) -> Iterator[str]:
        """The lines after an import."""
        if self.before:
            yield f"{self.before} rows were imported before"
        yield f"{self.accepted} touchpoints are on the log"
        for reason, n in sorted(self.rejected.items()):
            yield f"{n} refused: {reason}"

    def foreseen(self, source: str) -> Iterator[str]:
        """The lines after a dry run."""
        yield f"{self.accepted} touchpoints would be accepted, in the name of {source}"
        for event, n in self.events.most_common(EVENTS):
            yield f"{n:>10}  {event}"
        if len(self.events) > EVENTS:
            yield f"{'':>10}  and {len(self.events) - EVENTS} more events"
        for flag, n in sorted(self.flags.items()):
            yield f"{n} of them would be marked {flag}"
        yield f"{self.rejected.total()} would be refused"
        for reason, n in self.rejected.most_common():
            yield f"{n:>10}  {reason}"

    def problems(self) -> Iterator[str]:
        """Examples of what was refused, by reason, and what is damaged."""
        for _, examples in sorted(self.examples.items()):
            yield from examples
        yield from self.damaged


def shortened(text: str) -> str:
    """A text as an example shows it, with nothing that a terminal would take for a command."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"') if not text.isprintable() else text
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 1]}…"
