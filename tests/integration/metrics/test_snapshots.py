"""as_of and the figures beside it are of one state of the tables, whatever is committed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.touchpoint import SECOND
from tests.integration.metrics.seed import Seed, Told, at

BEGAN = at("23 10:00")


@pytest.fixture
async def busy(seed: Seed) -> AsyncIterator[None]:
    """A writer that moves as_of by a second with each journey it counts, in one transaction."""
    map_id = await seed.map()
    await seed.partition(BEGAN)

    async def write() -> None:
        while True:
            async with seed.connection.transaction():
                await seed.journey(map_id, Told([(0, at("20 10:00"))]))
                await seed.connection.execute("update partitions set as_of = as_of + $1", SECOND)

    writer = asyncio.create_task(write())
    yield
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


def counted(path: str, answer: dict[str, Any]) -> int:
    """How many journeys an answer knows of."""
    match path, answer:
        case "funnel", {"journeys": {"started": int(n)}}:
            return n
        case "conversion", {"series": [*points]}:
            return sum(point["started"] for point in points)
        case "transitions", {"transitions": [*moves]}:
            return sum(move["count"] for move in moves)
        case (("now" | "drop-off"), {"stages": [*stages]}):
            return sum(stage["open"] for stage in stages)
        case "journeys", {"data": [*rows]}:
            return len(rows)
    raise AssertionError(path)


@pytest.mark.parametrize("path", ["funnel", "conversion", "drop-off", "transitions", "now", "journeys?limit=1000"])
async def test_the_figures_are_as_of_what_they_say(api: httpx.AsyncClient, busy: None, path: str) -> None:
    seen: set[int] = set()
    while len(seen) < 10:
        answer = (await api.get(f"/v1/maps/shop/{path}")).json()
        n = counted(path.partition("?")[0], answer)
        assert answer["as_of"] == f"2026-11-23T10:{n // 60:02}:{n % 60:02}Z"
        seen.add(n)
