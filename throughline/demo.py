"""`run --demo`: a sample history, and a trickle of customers who do what shop customers do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import structlog

from services.ingest.exports.plain import Mapping
from services.ingest.settings import IngestSettings
from shared.keys import has_demo_key, load_sources
from shared.settings import Settings
from throughline.importing import Options, import_all
from throughline.supervisor import local

SAMPLE = Path(__file__).parent.parent / "deploy" / "demo" / "rete_ecom.jsonl.gz"
SECONDS_BETWEEN = 0.7
AT_A_TIME = 12
_log = structlog.get_logger(__name__)

NEXT = {  # what follows a step, with odds; "" is leaving for good
    "home": {"catalog": 5, "search": 3, "": 2},
    "catalog": {"product_view": 6, "search": 2, "": 2},
    "search": {"product_view": 6, "catalog": 2, "": 2},
    "product_view": {"product_view": 3, "compare": 1, "add_to_cart": 3, "catalog": 2, "": 1},
    "compare": {"product_view": 3, "add_to_cart": 2, "": 1},
    "add_to_cart": {"cart": 5, "product_view": 3, "": 1},
    "cart": {"shipping_details": 5, "catalog": 2, "": 3},
    "shipping_details": {"payment_details": 6, "": 2},
    "payment_details": {"purchase": 6, "payment_error": 1, "": 1},
    "payment_error": {"payment_details": 2, "": 2},
    "purchase": {"": 5, "home": 1},
}
ACQUISITIONS = ("Direct", "Organic Search", "Paid Search", "Email", "Organic Social")


async def companion(settings: Settings) -> None:
    """Imports the sample (at once, if it has been imported before) and sends a touchpoint now and then."""
    if not has_demo_key(frozenset().union(*(one.keys for one in load_sources(settings.throughline_config)))):
        raise ValueError("the demo sends with the published key demo-write, which sources.yaml does not have any more")
    options = Options(mapping=Mapping(channel_is="acquisition"))
    imported = IngestSettings(**settings.model_dump())
    tally = await import_all(imported, [SAMPLE], options)
    _log.info("the sample history is in", touchpoints=tally.accepted)
    url = f"http://{local(settings)}:{settings.ingest_port}/v1/track"
    async with httpx.AsyncClient(auth=("demo-write", ""), timeout=10) as client:
        for call in traffic(random.Random()):
            try:
                await client.post(url, json=call)
            except httpx.HTTPError as error:
                _log.warning("the demo's touchpoint was not taken", reason=str(error))
            await asyncio.sleep(SECONDS_BETWEEN)


def traffic(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Calls without end: a few customers at a time, each from the first page to wherever he leaves."""
    customers: list[dict[str, Any]] = []
    while True:
        if len(customers) < AT_A_TIME:
            name = UUID(int=chance.getrandbits(128), version=4)
            customers.append({"id": str(name), "step": "home", "from": chance.choice(ACQUISITIONS)})
        customer = chance.choice(customers)
        yield _call(customer, chance)
        odds = NEXT[customer["step"]]
        customer["step"] = chance.choices(list(odds), list(odds.values()))[0]
        if not customer["step"]:
            customers.remove(customer)


def _call(customer: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    call: dict[str, Any] = {
        "messageId": str(UUID(int=chance.getrandbits(128), version=4)),
        "anonymousId": customer["id"],
        "event": customer["step"],
        "context": {"acquisition": customer["from"]},
    }
    if customer["step"] in ("shipping_details", "payment_details", "purchase"):
        call["userId"] = f"demo-{customer['id'][:8]}"
    if customer["step"] == "purchase":
        call["properties"] = {"revenue": chance.randrange(1500, 15000) / 100}
    return call
