"""A line of the table: what was measured, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["aim met", "floor met", "missed", "reported"]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. ``floor`` and ``aim``: at most, or at least where ``more_is_better``."""

    measurement: str
    what: str
    value: float
    unit: str
    floor: float | None = None
    aim: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.aim is not None and self._reaches(self.aim):
            return "aim met"
        if self.floor is not None and self._reaches(self.floor):
            return "floor met"
        return "reported" if self.floor is None and self.aim is None else "missed"

    def _reaches(self, target: float) -> bool:
        return self.value >= target if self.more_is_better else self.value <= target


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is sent: 1 is what is reported, ``--quick`` a small part of it that only shows that all of it runs."""

    touchpoints: int
    customers: int
    seconds: float


FULL = Scale(1_000_000, 100_000, 30)
QUICK = Scale(20_000, 2_000, 3)
