"""Stitching from Kafka: touchpoints that lie on the log become journeys; rate and CPU of stitcher and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.load import flat_out, request
from bench.processes import CONFIG, ROOT, Machinery, Running, spent
from bench.result import Line, Scale
from bench.workload import Workload, bodies, now

NAME = "stitching"


async def measure(home: Path, scale: Scale) -> list[Line]:
    """Slim touchpoints and one map, which the targets are about; then full ones and two maps."""
    return [
        *await _variant(home / "slim", scale, full=False, maps=1),
        *await _variant(home / "full", scale, full=True, maps=2),
        *await _baseline(home / "baseline", scale.touchpoints // 100, scale.customers // 100),
    ]


async def _variant(home: Path, scale: Scale, *, full: bool, maps: int) -> list[Line]:
    what = f"{'full' if full else 'slim'} touchpoints, {maps} map{'s' if maps > 1 else ''}"
    async with prepared(home, scale.touchpoints, scale.customers, full=full, maps=maps) as (machinery, postgres):
        with spent(postgres) as database:
            started = time.perf_counter()
            stitcher = machinery.service("stitcher")
            ready = time.perf_counter()
            own = stitcher.cpu()
            await stitched(machinery, stitcher, scale.touchpoints)
            took = time.perf_counter() - started
        cpu, peak = stitcher.cpu(), stitcher.memory().rss
    million = scale.touchpoints / 1e6
    total = (cpu + database["postgres"]) / million
    aims = (70.0, 30.0) if not full else (None, None)
    rates = (15_000.0, 35_000.0) if not full else (None, None)
    split = f"stitcher {cpu / million:.1f} + PostgreSQL {database['postgres'] / million:.1f}"
    start = f"its start of {ready - started:.1f} s and {own:.1f} CPU-s included"
    return [
        Line(NAME, f"{what}: CPU", total, "CPU-s per million", aims[0], aims[1], note=f"{split}; {start}"),
        Line(NAME, f"{what}: rate", scale.touchpoints / took, "touchpoints/s", rates[0], rates[1], more_is_better=True),
        Line(NAME, f"{what}: memory of the stitcher", peak / 1e6, "MB"),
    ]


async def _baseline(home: Path, touchpoints: int, customers: int) -> list[Line]:
    """An ORM transaction for each touchpoint, on a hundredth of them."""
    async with prepared(home, touchpoints, customers, full=False, maps=1) as (machinery, postgres):
        with spent(postgres) as database:
            started, before = time.perf_counter(), os.times()
            words = [sys.executable, "-m", "bench.baselines.stitcher", str(touchpoints)]
            await asyncio.to_thread(subprocess.run, words, env=os.environ | machinery.environment, cwd=ROOT, check=True)
            took, after = time.perf_counter() - started, os.times()
    own = after.children_user + after.children_system - before.children_user - before.children_system
    million = touchpoints / 1e6
    split = (
        f"processor {own / million:.0f} + PostgreSQL {database['postgres'] / million:.0f}; {touchpoints} touchpoints"
    )
    total = (own + database["postgres"]) / million
    return [
        Line(NAME, "baseline, an ORM transaction each: CPU", total, "CPU-s per million", note=split),
        Line(NAME, "baseline, an ORM transaction each: rate", touchpoints / took, "touchpoints/s"),
    ]


@asynccontextmanager
async def prepared(
    home: Path, touchpoints: int, customers: int, *, full: bool, maps: int
) -> AsyncIterator[tuple[Machinery, Running]]:
    """A broker with the workload on it, a database, and no stitcher yet."""
    home.mkdir(parents=True, exist_ok=True)
    with Machinery(home, configuration(home, maps)) as machinery:
        machinery.kafka()
        postgres = machinery.postgres()
        ingest = machinery.service("ingest")
        await put(ingest.port, Workload(touchpoints, customers, now(), full=full))
        yield machinery, postgres


def configuration(home: Path, maps: int) -> Path:
    """The benchmark's configuration with so many maps that are alike but for the name."""
    folder = home / "config"
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    for n in range(2, maps + 1):
        text = (CONFIG / "maps" / "bench.yaml").read_text().replace("map: bench", f"map: bench{n}")
        (folder / "maps" / f"bench{n}.yaml").write_text(text)
    return folder


async def put(port: int, lines: Iterable[bytes], size: int = 1000) -> None:
    """Through ingest, in order: one request after the other."""
    sent = (request("/v1/batch", body, key="bench-write") for body in bodies(lines, size))
    tally = await flat_out(port, sent, 1)
    if tally.lost or set(tally.statuses) != {200}:
        raise RuntimeError(f"ingest answered {dict(tally.statuses)}, {tally.lost} not at all")


async def stitched(machinery: Machinery, stitcher: Running, touchpoints: int, every: float = 0.1) -> None:
    """Waits, looking ``every`` so many seconds, until the tables say that so many touchpoints of the log are in."""
    connection = await asyncpg.connect(machinery.environment["DATABASE_URL"])
    try:
        while True:
            done = await connection.fetchval("select sum(next_offset) from partitions where topic = 'touchpoints'")
            if done is not None and done >= touchpoints:
                return
            if not stitcher.tree():
                raise RuntimeError(f"the stitcher ended: see {machinery.home / 'stitcher.log'}")
            await asyncio.sleep(every)
    finally:
        await connection.close()


def scratch() -> Path:
    """A new folder for what is started."""
    return Path(tempfile.mkdtemp(prefix="throughline-bench-"))
