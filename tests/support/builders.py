"""Builders with defaults, so that a test shows only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from shared.journey_map import JourneyMap, parse_map
from shared.touchpoint import HOUR, Touchpoint, micros

NOON: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
_numbers = count()


def hours(after_noon: float) -> int:
    """The instant so many hours after noon, in microseconds."""
    return micros(NOON) + round(after_noon * HOUR)


def touchpoint(hour: float, event: str | None = "A", who: str = "user_id:u1", **given: Any) -> Touchpoint:
    """A `track` of ``event``, so many hours after noon; ``who`` is a list of ``kind:value``, spaces between."""
    time = NOON + timedelta(hours=hour)
    defaults: dict[str, Any] = {
        "id": f"m{next(_numbers):06d}", "type": "track", "event": event, "time": time, "received_at": time,
        "source": "site", "channel": "web", "ids": dict(one.split(":", 1) for one in who.split()),
    }  # fmt: skip
    return Touchpoint(**defaults | given)


def alias(hour: float, previous: str, user: str, **given: Any) -> Touchpoint:
    return touchpoint(hour, None, f"user_id:{user}", type="alias", previous_id=previous, **given)


def journey_map(text: str) -> JourneyMap:
    """A map from YAML without its name."""
    return parse_map(f"map: m\n{text}", "test")
