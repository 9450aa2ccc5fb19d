"""Builders for the stitcher's tests: a folder with maps, plans that are live, records stitched straight into tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from services.stitcher.digest import digest
from services.stitcher.journey.batch import gather
from services.stitcher.journey.rules import Plan
from services.stitcher.registry import register
from services.stitcher.settings import StitcherSettings
from services.stitcher.stitching import Outcome, stitch
from services.stitcher.store import Store, open_pool
from services.stitcher.verify import verify
from shared.identifiers import IdentityRules
from shared.journey_map import parse_map
from shared.touchpoint import Command, Touchpoint
from tests.support.builders import hours

RULES: Final = IdentityRules()
SHOP: Final = """
map: shop
version: 1
timeout: 1d
goal: {event: Goal}
value: properties.value
stages:
  - {name: look, when: [{event: A}]}
  - {name: choose, when: [{event: B}], stall: 1h}
  - {name: buy, when: [{event: [C, Goal]}]}
segments: {gold: {traits.tier: gold}}
experience: [{event: Survey, score: properties.rating, scale: [1, 5]}]
"""
LATER: Final = hours(1000)


@dataclass
class Told:
    """A report that remembers."""

    problems: list[str] = field(default_factory=list)

    def progress(self, what: str, done: int, total: int) -> None:
        assert 0 <= done <= total, what

    def problem(self, text: str) -> None:
        self.problems.append(text)


def config(folder: Path, *maps: str) -> Path:
    """A configuration folder with these maps."""
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    for old in (folder / "maps").iterdir():
        old.unlink()
    for number, text in enumerate(maps or (SHOP,)):
        (folder / "maps" / f"{number}.yaml").write_text(text)
    return folder


async def live(database: str, *maps: str) -> list[Plan]:
    """These maps, live."""
    return await register(database, [parse_map(text, "test") for text in maps or (SHOP,)], RULES, Told())


@asynccontextmanager
async def opened(database: str, plans: Sequence[Plan]) -> AsyncIterator[Store]:
    """A store for some plans."""
    pool = await open_pool(database, statement_seconds=30, idle_seconds=30)
    try:
        store = Store(pool, [plan.map_id for plan in plans])
        await store.prepare({"touchpoints": 4, "touchpoints.rejected": 4})
        yield store
    finally:
        await pool.close()


def encoded(messages: Iterable[Touchpoint | Command]) -> list[bytes]:
    return [msgspec.json.encode(message) for message in messages]


async def take(
    store: Store, plans: Sequence[Plan], messages: Iterable[Touchpoint | Command], wrap: Any = None
) -> Outcome:
    """Stitches messages in one transaction; ``wrap`` may put something around the unit."""
    batch = gather(encoded(messages), RULES)
    async with store.unit() as unit:
        clock = await unit.clock()
        return await stitch(wrap(unit) if wrap else unit, batch, plans, RULES, clock, LATER)


async def problems(database: str, folder: Path) -> list[str]:
    """What `verify` finds."""
    told = Told()
    found = await verify(StitcherSettings(database_url=database, throughline_config=folder), told)
    assert found == len(told.problems)
    return told.problems


async def state(database: str, clock: int | None = LATER) -> dict[str, str]:
    return await digest(database, clock)


async def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    """Waits for a condition; an awaitable one is awaited each time."""
    async with asyncio.timeout(seconds):
        while True:
            answer = holds()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.01)


async def ask(database: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """The rows of a query, as plain tuples."""
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


async def tell(database: str, statement: str, *arguments: Any) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()
