"""Touchpoints as clients send them, and what ingest decides on them, with defaults for what does not matter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.raw import Parsed
from services.ingest.dialects.segment import parse_batch
from services.ingest.policy import Applied
from services.ingest.reasons import Rejection
from services.ingest.times import Arrival
from shared.identifiers import IdentityRules
from shared.keys import Source
from shared.touchpoint import Touchpoint

AT = datetime(2026, 11, 23, 10, 0, 0, 123456, UTC)
SHOP = Source(name="shop", kind="server", write_keys=["key"])


def sent(**fields: Any) -> dict[str, Any]:
    """A track of user u1."""
    return {"type": "track", "event": "Product Viewed", "messageId": "m1", "userId": "u1", **fields}


def decide(
    item: Any, *, sent_at: object = None, retry: bool = False, source: Source = SHOP, policy: Applied | None = None
) -> Accepted | Rejection:
    """What becomes of an item of a batch that was received at AT."""
    body = json.dumps({"batch": [item], "sentAt": sent_at}).encode()
    [decision] = decide_all(body, retry=retry, source=source, policy=policy)
    return decision


def decide_all(
    body: bytes, *, retry: bool = False, source: Source = SHOP, policy: Applied | None = None
) -> list[Accepted | Rejection]:
    """What becomes of the items of a batch."""
    return decide_parsed(parse_batch(body), retry=retry, source=source, policy=policy)


def decide_parsed(
    parsed: Parsed, *, retry: bool = False, source: Source = SHOP, policy: Applied | None = None
) -> list[Accepted | Rejection]:
    arrival = Arrival.of(AT, parsed.sent_at, retry)
    intake = Intake(source=source, arrival=arrival, rules=IdentityRules(), new_id=lambda: "made", policy=policy)
    return [accept(raw, intake) for raw in parsed.items]


def taken(item: Any, **how: Any) -> Touchpoint:
    """The touchpoint that an item becomes."""
    decision = decide(item, **how)
    assert isinstance(decision, Accepted), decision
    return decision.touchpoint


def reason(item: Any, **how: Any) -> str:
    """Why an item is rejected."""
    decision = decide(item, **how)
    assert isinstance(decision, Rejection), decision
    return decision.reason
