"""What is sent: touchpoints of Zipf-distributed customers from a seed, one by one so that memory stays small."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

EVENTS: Final = (
    ("Home Viewed", 30), ("Promotion Viewed", 10), ("Product Viewed", 30), ("Products Searched", 10),
    ("Product Added", 10), ("Checkout Started", 6), ("Order Completed", 4),
)  # fmt: skip
LATE, TWICE, ANONYMOUS = 0.01, 0.01, 0.35
CHANNELS: Final = ("web", "app", "email", "sms", "push", "phone", "chat", "store")
TIERS: Final = ("gold", "silver", "bronze")
BYTES: Final = 745


@dataclass(frozen=True, slots=True)
class Workload:
    """``touchpoints`` of ``customers`` within ``days`` that end at ``end``; ``full``: 745 bytes each, else only what
    stitching reads."""

    touchpoints: int
    customers: int
    end: datetime
    days: float = 30
    full: bool = True
    seed: int = 1

    def __iter__(self) -> Iterator[bytes]:
        """Each touchpoint as the JSON of a Segment call, in the order of sending."""
        draw = random.Random(self.seed)
        names, weights = zip(*EVENTS, strict=True)
        cumulative = _zipf(self.customers)
        step = timedelta(days=self.days) / max(1, self.touchpoints)
        again: deque[tuple[int, bytes]] = deque()
        logged_in: set[int] = set()
        for n in range(self.touchpoints):
            if again and again[0][0] <= n:
                yield again.popleft()[1]
                continue
            customer = draw.choices(range(self.customers), cum_weights=cumulative)[0]
            late = draw.random() < LATE
            time = self.end - timedelta(days=self.days) + step * n - timedelta(hours=6 * draw.random() * late)
            ids = _ids(customer, draw, logged_in)
            event = draw.choices(names, weights)[0]
            line = self._line(n, ids, event, time, draw)
            if draw.random() < TWICE:
                again.append((n + 1000, line))
            yield line

    def _line(self, n: int, ids: dict[str, str], event: str, time: datetime, draw: random.Random) -> bytes:
        call: dict[str, Any] = {
            "type": "track", "messageId": f"{self.seed}-{n:08d}", "event": event,
            "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **ids,
            "properties": {"revenue": 10 + draw.randrange(90)} if event == "Order Completed" else {},
        }  # fmt: skip
        if self.full:
            _fill(call, draw)
        return json.dumps(call, separators=(",", ":")).encode()


def _zipf(n: int) -> list[float]:
    total, found = 0.0, []
    for rank in range(1, n + 1):
        total += 1 / (rank + 10) ** 0.9
        found.append(total)
    return found


def _ids(customer: int, draw: random.Random, logged_in: set[int]) -> dict[str, str]:
    """A third of the customers come without a name first, and name themselves later, on the same device."""
    user, device = {"userId": f"u{customer}"}, {"anonymousId": f"a{customer:07d}-5bd2-4a11-9d0e"}
    if customer * 7919 % 1000 >= ANONYMOUS * 1000:
        return user
    if customer in logged_in:
        return user | device
    if draw.random() < 0.3:
        logged_in.add(customer)
        return user | device
    return device


def _fill(call: dict[str, Any], draw: random.Random) -> None:
    """Properties and context as a website's SDK sends them, up to 745 bytes in all."""
    product = draw.randrange(10_000)
    call["properties"] |= {"product_id": f"p{product}", "price": round(draw.random() * 100, 2), "currency": "EUR"}
    call["context"] = {
        "library": {"name": "analytics.js", "version": "next-1.84.3"},
        "page": {
            "path": f"/product/{product}", "title": f"Product {product}", "url": f"https://shop.example/product/{product}",
            "referrer": "https://www.example.org/", "search": "",
        },
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari",
        "locale": "de-DE", "timezone": "Europe/Berlin", "ip": "203.0.113.7", "screen": {"width": 1920, "height": 1080},
    }  # fmt: skip
    missing = BYTES - len(json.dumps(call, separators=(",", ":"))) - len(',"note":""')
    call["properties"]["note"] = "x" * max(0, missing)


def history(days: int, customers: int, end: datetime) -> Iterator[bytes]:
    """Customers of eight channels and three segments over ``days``: each says its tier and walks some stages."""
    draw = random.Random(7)
    for n in range(customers):
        start = end - timedelta(days=days * draw.random(), minutes=30)
        channel, user = CHANNELS[n % 8], f"h{n}"
        tier: dict[str, Any] = {"type": "identify", "traits": {"tier": TIERS[n // 8 % 3]}}
        for at, (name, _) in enumerate((("", 0), *EVENTS[: 1 + draw.randrange(len(EVENTS))])):
            call = {"type": "track", "event": name} if name else tier
            time = (start + timedelta(minutes=at)).isoformat()
            rest = {"messageId": f"h-{n}-{at}", "userId": user, "timestamp": time, "context": {"channel": channel}}
            yield json.dumps(call | rest).encode()


def bodies(lines: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Lines as bodies of `/v1/batch`; a size of 1 gives bodies of `/v1/track`."""
    found = iter(lines)
    if size == 1:
        yield from found
        return
    while some := list(islice(found, size)):
        yield b'{"batch":[' + b",".join(some) + b"]}"


def now() -> datetime:
    """The end of every workload: the moment it is made."""
    return datetime.now(UTC)
