"""From a fresh clone to the first funnel with a warm package cache: clone, `make run`, a touchpoint, an answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bench.processes import ROOT, stop
from bench.result import Line, Scale
from throughline.ports import free_port

NAME = "start"
PATIENCE = 300.0


async def measure(home: Path, scale: Scale) -> list[Line]:
    """What is committed is cloned; ports are free ones."""
    home.mkdir(parents=True, exist_ok=True)
    ports = {f"{name}_PORT": str(free_port()) for name in ("INGEST", "METRICS", "STITCHER")}
    started = time.perf_counter()
    run = await asyncio.to_thread(_clone_and_run, home, ports)
    try:
        await _first_funnel(run, ports["INGEST_PORT"], ports["METRICS_PORT"])
        took = time.perf_counter() - started
    finally:
        await asyncio.to_thread(stop, run)
    return [Line(NAME, "fresh clone to the first funnel", took, "s", 90, 45)]


def _clone_and_run(home: Path, ports: dict[str, str]) -> subprocess.Popen[bytes]:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(home / "clone")], check=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}
    with (home / "run.log").open("wb") as output:
        return subprocess.Popen(["make", "run"], cwd=home / "clone", env=kept | ports, stdout=output, stderr=output)


async def _first_funnel(run: subprocess.Popen[bytes], ingest: str, metrics: str) -> None:
    """Sends until it is taken, asks until it is counted."""
    call = {"messageId": "first", "userId": "u1", "type": "page", "name": "Home", "properties": {"path": "/"}}
    async with httpx.AsyncClient(timeout=2) as client:
        page = f"http://127.0.0.1:{ingest}/v1/page"
        sending = client.build_request("POST", page, json=call, headers=_bearer("write"))
        await _until(run, client, sending, lambda _: True)
        asking = client.build_request("GET", f"http://127.0.0.1:{metrics}/v1/maps/shop/funnel", headers=_bearer("read"))
        await _until(run, client, asking, lambda answer: answer["journeys"]["started"] >= 1)


def _bearer(kind: str) -> dict[str, str]:
    return {"authorization": f"Bearer demo-{kind}"}


async def _until(
    run: subprocess.Popen[bytes], client: httpx.AsyncClient, sent: httpx.Request, holds: Callable[[Any], bool]
) -> None:
    """Again and again until the answer is 200 and ``holds``."""
    deadline = time.monotonic() + PATIENCE
    while run.poll() is None and time.monotonic() < deadline:
        try:
            answer = await client.send(sent)
            if answer.status_code == 200 and holds(answer.json()):
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError(f"`make run` on a fresh clone did not get as far as {sent.url}")
