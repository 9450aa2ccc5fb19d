"""Broken at every step, killed, paused: the digest is the clean run's, and everything acknowledged is in once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.stitcher.errors import Unavailable
from services.stitcher.settings import StitcherSettings
from tests.integration.stitcher.test_loop import clean, right
from tests.integration.stitcher.test_whole_state import history
from tests.integration.stitcher.workers import Scene, scene
from tests.integration.stitcher.world import SHOP, ask, config, live, state, until
from throughline.ports import free_port

STEPS = (
    "lock", "links_up", "revocations", "insert_touchpoints", "family", "touchpoints", "trait_touchpoints", "profiles",
    "journeys", "journeys_of", "_write_identity", "_write_profiles", "_tell", "_write_rollups",
)  # fmt: skip


@pytest.fixture
async def shop(database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    settings = StitcherSettings(
        database_url=database, throughline_config=config(tmp_path), kafka_partitions=3, stitcher_port=free_port()
    )
    async with scene(settings, await live(database)) as found:
        yield found


def breaking(step: str, after: bool) -> Any:
    """Wraps units so that the first one that comes to a step loses its database just before or after it."""
    broken = False

    def wrap(unit: Any) -> Any:
        whole = getattr(unit, step)

        async def broke(*given: Any) -> Any:
            nonlocal broken
            if broken:
                return await whole(*given)
            broken = True
            if after:
                await whole(*given)
            raise Unavailable(f"broken at {step}")

        setattr(unit, step, broke)
        return unit

    return wrap


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_worker_that_breaks_at_every_step_once_ends_as_if_nothing_had_been(shop: Scene, after: bool) -> None:
    sent = history(21, n=len(STEPS) * 30)
    for number, step in enumerate(STEPS):
        await shop.send(sent[number * 30 : number * 30 + 30])
        async with shop.worker(wrap=breaking(step, after)):
            await shop.drained()
    await right(shop)
    mixed = await state(shop.database)
    assert mixed == await clean(shop, sent)


# --- The real process ------------------------------------------------------------------------------------------------


class Process:
    """`python -m services.stitcher` on a scene."""

    def __init__(self, process: Any, port: int) -> None:
        self.process, self._url = process, f"http://127.0.0.1:{port}"

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def get(self, path: str) -> httpx.Response | None:
        async with httpx.AsyncClient() as client:
            try:
                return await client.get(self._url + path)
            except httpx.TransportError:
                return None

    async def is_ready(self) -> bool:
        answer = await self.get("/readyz")
        return answer is not None and answer.status_code == 200


@asynccontextmanager
async def process(shop: Scene, **environment: str) -> AsyncIterator[Process]:
    """Runs it, and ends it however it is."""
    port = free_port()
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.stitcher",
        env={
            **os.environ, "DATABASE_URL": shop.database, "THROUGHLINE_CONFIG": str(shop.settings.throughline_config),
            "KAFKA_PARTITIONS": "3", "STITCHER_PORT": str(port), "STITCHER_BATCH": "40",
            "STITCHER_PAUSE_SECONDS": "2", "STITCHER_LINGER_SECONDS": "0", **environment,
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    drain = asyncio.create_task(started.stdout.read())  # type: ignore[union-attr]
    one = Process(started, port)
    try:
        yield one
    finally:
        one.send(signal.SIGCONT)
        one.send(signal.SIGKILL)
        await started.wait()
        await drain


async def arrived(shop: Scene, least: int) -> bool:
    return bool((await ask(shop.database, "select count(*) from touchpoints"))[0][0] >= least)


async def test_killed_at_random_under_load_it_ends_as_if_nothing_had_been(shop: Scene) -> None:
    sent, random_ = history(22, n=900), random.Random(22)
    await shop.send(sent)
    for _ in range(2):
        async with process(shop) as one:
            least = (await ask(shop.database, "select count(*) from touchpoints"))[0][0] + random_.randint(1, 200)
            await until(lambda least=least: arrived(shop, min(least, 900)))  # type: ignore[misc]
            one.send(signal.SIGKILL)
            await one.process.wait()
    async with process(shop):
        await shop.drained()
    await right(shop)
    mixed = await state(shop.database)
    assert mixed == await clean(shop, sent)


async def test_paused_past_its_lease_another_takes_over_and_it_commits_nothing_old(shop: Scene) -> None:
    sent = history(23, n=600)
    async with process(shop) as one:
        await until(one.is_ready)
        await shop.send(sent[:200])
        await until(lambda: arrived(shop, 1))
        one.send(signal.SIGSTOP)
        await shop.send(sent[200:])
        async with process(shop) as two:
            await until(lambda: arrived(shop, 600), 40)
            one.send(signal.SIGCONT)
            await until(two.is_ready)
            await shop.drained()
    await right(shop)
    mixed = await state(shop.database)
    assert mixed == await clean(shop, sent)


async def test_it_stops_on_a_signal_and_says_how_it_is(shop: Scene) -> None:
    async with process(shop) as one:
        await until(one.is_ready)
        await shop.send(history(24, n=50))
        await until(lambda: arrived(shop, 50))
        metrics = await one.get("/metrics")
        assert metrics is not None
        assert "throughline_touchpoints_stitched_total 50.0" in metrics.text
        one.send(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await one.process.wait() == 0


async def test_a_misconfigured_one_says_so_and_does_not_start(shop: Scene) -> None:
    config(shop.settings.throughline_config, SHOP.replace("timeout: 1d", "timeout: 3d"))
    async with process(shop) as one:
        async with asyncio.timeout(30):
            assert await one.process.wait() == 2
