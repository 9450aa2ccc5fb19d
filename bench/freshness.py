"""Freshness: from the answer 200 to being seen in /funnel, while 1,000 touchpoints/s come in."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from bench.load import at_rate, connected, quantile, request
from bench.processes import Machinery
from bench.result import Line, Scale
from bench.workload import Workload, bodies, now

NAME = "freshness"
FUNNEL = "/v1/maps/bench/funnel?channel=partner"


async def measure(home: Path, scale: Scale) -> list[Line]:
    """Probes are customers of a channel of their own: the k-th is visible when the funnel counts k journeys."""
    with Machinery(home) as machinery:
        machinery.kafka()
        machinery.postgres()
        ingest, _, metrics = (machinery.service(name) for name in ("ingest", "stitcher", "metrics"))
        count = int(1000 * scale.seconds)
        sent = [request("/v1/batch", body, key="bench-write") for body in bodies(Workload(count, 10_000, now()), 20)]
        load = asyncio.create_task(at_rate(ingest.port, lambda n: sent[n], 50, scale.seconds - 1))
        acknowledged: list[float] = []
        probing = asyncio.create_task(_probe(ingest.port, scale.seconds, acknowledged))
        seen = await _watch(metrics.port, probing, acknowledged)
        tally = await load
    waits = [there - acknowledged[k] for k, there in enumerate(seen)]
    note = f"{len(waits)} probes by count; load answered {dict(tally.statuses)}; /funnel asked every 10 ms"
    return [
        Line(NAME, "acknowledged to visible in /funnel: p50", quantile(waits, 0.5), "s", 0.5, 0.25, note=note),
        Line(NAME, "acknowledged to visible in /funnel: p99", quantile(waits, 0.99), "s", 2.0, 1.0),
    ]


async def _probe(port: int, seconds: float, acknowledged: list[float]) -> None:
    """A new customer ten times a second; notes when each is acknowledged."""
    async with connected(port) as one:
        for n in range(int(seconds * 10)):
            call = {"messageId": f"probe-{n}", "userId": f"probe{n}", "event": "Home Viewed"}
            body = json.dumps(call | {"context": {"channel": "partner"}}).encode()
            status, answer = await one.ask(request("/v1/track", body, key="bench-write"))
            if status != 200:
                raise RuntimeError(f"a probe was answered {status}: {answer!r}")
            acknowledged.append(time.perf_counter())
            await asyncio.sleep(0.1)


async def _watch(port: int, probing: asyncio.Task[None], acknowledged: list[float]) -> list[float]:
    """When the k-th probe was first in an answer."""
    seen: list[float] = []
    deadline: float | None = None
    async with connected(port) as one:
        while not probing.done() or len(seen) < len(acknowledged):
            status, body = await one.ask(request(FUNNEL, key="bench-read", method="GET"))
            if status == 200:
                started = min(json.loads(body)["journeys"]["started"], len(acknowledged))
                seen += [time.perf_counter()] * (started - len(seen))
            if probing.done():
                probing.result()
                deadline = deadline or time.monotonic() + 60
                if time.monotonic() > deadline:
                    raise RuntimeError(f"only {len(seen)} of {len(acknowledged)} probes became visible")
            await asyncio.sleep(0.01)
    return seen
