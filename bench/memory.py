"""Memory of `throughline run`: all processes and the embedded PostgreSQL, idle and under load."""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.request
from pathlib import Path

from bench.load import at_rate, request
from bench.processes import READY_SECONDS, Machinery, Memory, Running
from bench.result import Line, Scale
from bench.workload import Workload, bodies, now
from throughline.ports import free_port

NAME = "memory"
RATE = 5000


async def measure(home: Path, scale: Scale) -> list[Line]:
    """PSS is held against the targets: RSS takes the pages that PostgreSQL shares once a backend."""
    home.mkdir(parents=True, exist_ok=True)
    ports = {f"{name}_PORT": str(free_port()) for name in ("INGEST", "METRICS", "STITCHER")}
    with Machinery(home) as machinery:
        run = machinery.command("run", [sys.executable, "-m", "throughline", "run"], 0, None, ports)
        await _all_ready(ports)
        await asyncio.sleep(min(5, scale.seconds))
        postgres = Running("postgres", _postmaster(home))
        idle = run.memory() + postgres.memory()
        sent = [request("/v1/batch", body, key="bench-write") for body in bodies(Workload(20_000, 10_000, now()), 100)]
        load = at_rate(int(ports["INGEST_PORT"]), lambda n: sent[n % len(sent)], RATE / 100, scale.seconds)
        task = asyncio.create_task(load)
        peak = idle
        while not task.done():
            peak = max(peak, run.memory() + postgres.memory(), key=lambda memory: memory.pss)
            await asyncio.sleep(1)
        tally = task.result()
    note = f"{RATE} touchpoints/s for {scale.seconds:.0f} s, answers {dict(tally.statuses)}"
    return [*_lines("idle", idle, 700, ""), *_lines("under load", peak, 1000, note)]


def _lines(what: str, memory: Memory, floor: float, note: str) -> list[Line]:
    rss = Line(NAME, f"throughline run, {what}: RSS, shared pages in each", memory.rss / 1e6, "MB", note=note)
    pss = Line(NAME, f"throughline run, {what}: PSS, shared pages once", memory.pss / 1e6, "MB", floor, 400)
    return [rss, pss]


def _postmaster(home: Path) -> int:
    found = next((home / "home").rglob("postmaster.pid"))
    return int(found.read_text().split("\n", 1)[0])


async def _all_ready(ports: dict[str, str]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    waiting = set(ports.values())
    while waiting:
        for port in list(waiting):
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/readyz", None, 2)
                waiting.discard(port)
            except OSError:
                await asyncio.sleep(0.1)
        if time.monotonic() > deadline:
            raise RuntimeError("throughline run did not get ready")
