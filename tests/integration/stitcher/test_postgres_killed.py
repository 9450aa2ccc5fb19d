"""PostgreSQL is killed under load, twice: what was acknowledged is in once, and the digest is the clean run's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from services.stitcher.settings import StitcherSettings
from shared.eventlog.port import LogUnavailable
from shared.migrations import migrate
from shared.touchpoint import Command, Touchpoint
from tests.integration.stitcher.test_crash import arrived, process
from tests.integration.stitcher.test_loop import clean, right
from tests.integration.stitcher.test_whole_state import history
from tests.integration.stitcher.workers import Scene, scene
from tests.integration.stitcher.world import ask, config, live, state, until
from throughline.embedded import Server
from throughline.ports import free_port

KILLS = (150, 350)  # touchpoints that are in when it happens


async def test_killed_and_restarted_twice_it_has_everything_acknowledged_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "postgres")
    with server.in_use():
        await migrate(server.url)
        settings = StitcherSettings(
            database_url=server.url, throughline_config=config(tmp_path), kafka_partitions=3, stitcher_port=free_port()
        )
        async with scene(settings, await live(server.url)) as shop, process(shop) as one:
            await until(one.is_ready)
            sent = history(25, n=600)
            sending = asyncio.create_task(acknowledged(shop, sent))
            for least in KILLS:
                await until(lambda least=least: arrived(shop, least), 40)  # type: ignore[misc]
                kill(server)
                await until(lambda: not server.running(), 40)
                await asyncio.to_thread(server.start)
            await sending
            await shop.drained()
            assert one.process.returncode is None
            await right(shop)
            assert await ask(shop.database, "select count(*) from touchpoints") == [(len(sent),)]
            mixed = await state(shop.database)
        assert mixed == await clean(shop, sent)


async def acknowledged(shop: Scene, sent: Sequence[Touchpoint | Command]) -> None:
    """Sends all, a few at a time, each again until the log has taken it, as clients do."""
    for start in range(0, len(sent), 10):
        while True:
            try:
                await shop.send(sent[start : start + 10])
                break
            except LogUnavailable:
                await asyncio.sleep(0.05)


def kill(server: Server) -> None:
    """As a machine does that loses its power: the server gets no chance to tidy up."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    os.kill(pid, signal.SIGKILL)
