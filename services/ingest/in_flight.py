"""How much ingest takes on at one time: memory stays bounded, and under more than it can do it does what it can."""

from __future__ import annotations

from dataclasses import dataclass

from services.ingest.errors import Refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be in flight at one time, and how long a body may take.

    ``working``: bytes of whole bodies on their way from being decoded to being acknowledged. Work that was begun and
    cannot be ended in time has to be done again, since its client comes back; so what would wait long is not begun.
    """

    requests: int
    bytes: int
    body_seconds: float
    working: int = 8 * 1024 * 1024


class InFlight:
    """Counts what is being held, so that memory stays bounded whatever comes."""

    __slots__ = ("bytes", "limits", "requests", "working")

    def __init__(self, limits: Limits) -> None:
        self.limits, self.requests, self.bytes, self.working = limits, 0, 0, 0

    def enter(self) -> None:
        if self.requests >= self.limits.requests:
            raise Refusal("overloaded", "too many requests are in flight")
        self.requests += 1

    def hold(self, n: int) -> None:
        if self.bytes + n > self.limits.bytes:
            raise Refusal("overloaded", "too many bytes are in flight")
        self.bytes += n

    def begin(self, n: int) -> None:
        """One alone may always begin."""
        if self.working and self.working + n > self.limits.working:
            raise Refusal("overloaded", "too much is being worked on")
        self.working += n
