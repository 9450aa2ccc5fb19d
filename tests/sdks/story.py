"""What every SDK is told to send: one customer's story, with all that has hurt pipelines before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

Call = dict[str, Any]

WORDS = "Zoë „Grüße“ 東京 🛒 e\u0301 <&%+> \"'\\ \u2028"
BATCH = 25
THIRTY_KB = 30_000
FORTY_KB = 40_000
LARGE, TOO_LARGE = "Large", "Too Large"


def story(user: str, now: datetime) -> list[Call]:
    """The calls, numbered by ``n``, which travels in their properties or traits. ``time`` is days before ``now``."""
    then = (now - timedelta(days=3)).replace(microsecond=123_000)
    calls: list[Call] = [
        {"type": "identify", "traits": {"email": f"{user}@Example.com", "city": WORDS}},
        {"type": "track", "event": WORDS, "properties": {"price": 12.5, "many": 2**53 - 1, "deep": {"list": [1, {}]}}},
        {"type": "page", "name": "Préface", "properties": {"text": WORDS}},
        {"type": "screen", "name": "Panier 🧺", "properties": {"text": WORDS}},
        {"type": "group", "group_id": "g-1", "traits": {"plan": "größer"}},
        {"type": "alias", "previous_id": f"{user}-before"},
        *({"type": "track", "event": "Product Viewed", "properties": {}} for _ in range(BATCH)),
        {"type": "track", "event": LARGE, "properties": {"text": "x" * THIRTY_KB}},
        {"type": "track", "event": TOO_LARGE, "properties": {"text": "x" * FORTY_KB}},
        {"type": "track", "event": "Neighbour", "properties": {}},
    ]
    for n, call in enumerate(calls):
        call |= {"n": n, "user": user, "time": (then + timedelta(seconds=n)).isoformat(timespec="milliseconds")}
        for part in call.keys() & {"properties", "traits"}:
            call[part]["n"] = n
    return calls


def few(user: str, count: int, **more: Any) -> list[Call]:
    """Plain tracks, happening as they are sent."""
    return [
        {"type": "track", "event": "Few", "user": user, "n": n, "properties": {"n": n}, **more} for n in range(count)
    ]


def visit(user: str, count: int) -> list[Call]:
    """Somebody says who he is, and does a few things."""
    identify: Call = {"type": "identify", "user": user, "n": 0, "traits": {"n": 0}}
    return [identify, *few(user, count)[1:]]
