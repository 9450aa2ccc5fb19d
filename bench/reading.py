"""Reading: /funnel over 90 days, 8 channels, 3 segments, 200 times a second while touchpoints come in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import product
from pathlib import Path

from bench.load import at_rate, request
from bench.processes import Machinery, spent
from bench.result import Line, Scale
from bench.stitching import put, stitched
from bench.workload import CHANNELS, TIERS, Workload, bodies, history, now

NAME = "reading"
RATE = 200


async def measure(home: Path, scale: Scale) -> list[Line]:
    """Half of the questions are of all channels and segments, half of one of each."""
    home.mkdir(parents=True, exist_ok=True)
    past = list(history(90, scale.customers // 5, now()))
    with Machinery(home) as machinery:
        machinery.kafka()
        postgres = machinery.postgres()
        ingest, stitcher = machinery.service("ingest"), machinery.service("stitcher")
        metrics = machinery.service("metrics")  # it is ready when answers are fresh, for which the stitcher must run
        await put(ingest.port, past)
        await stitched(machinery, stitcher, len(past))
        count = int(1000 * scale.seconds)
        sent = [request("/v1/batch", body, key="bench-write") for body in bodies(Workload(count, 10_000, now()), 20)]
        with spent(metrics, postgres) as cpu:
            load = asyncio.create_task(at_rate(ingest.port, lambda n: sent[n], 50, scale.seconds - 1))
            asked = questions()
            tally = await at_rate(metrics.port, lambda n: asked[n % len(asked)], RATE, scale.seconds - 1)
            writing = await load
    note = f"answers {dict(tally.statuses)}, unsent {tally.unsent}; ingest answered {dict(writing.statuses)}"
    each = cpu["metrics"] / max(1, tally.statuses[200]) * 1000
    return [
        Line(NAME, "/funnel at 200/s: p99", tally.quantile(0.99) * 1000, "ms", 50, 20, note=note),
        Line(NAME, "/funnel at 200/s: p50", tally.quantile(0.5) * 1000, "ms"),
        Line(
            NAME, "/funnel: CPU a request in metrics", each, "ms", note=f"PostgreSQL {cpu['postgres']:.1f} CPU-s in all"
        ),
    ]


def questions() -> list[bytes]:
    """The funnel of the last 90 days, of everything and of each channel and segment."""
    since = (now() - timedelta(days=90)).strftime("%Y-%m-%dT%H:00:00Z")
    path = f"/v1/maps/bench/funnel?from={since}"
    asked = [path] * (len(CHANNELS) * len(TIERS))
    asked += [f"{path}&channel={channel}&segment={tier}" for channel, tier in product(CHANNELS, TIERS)]
    return [request(path, key="bench-read", method="GET") for path in asked]
