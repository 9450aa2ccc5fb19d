"""A refold: what one late touchpoint costs a customer with a short life, a long journey, a long life."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from bench.processes import Machinery, Running, spent
from bench.result import Line, Scale
from bench.stitching import put, stitched
from bench.workload import EVENTS, now

NAME = "refold"
REPEATS = 10
LIVES = (  # what, touchpoints, journeys
    ("100 touchpoints, one journey", 100, 1),
    ("10,000 touchpoints, one journey", 10_000, 1),
    ("10,000 touchpoints, 100 journeys", 10_000, 100),
)


async def measure(home: Path, scale: Scale) -> list[Line]:
    """Each late touchpoint falls one hour before the end of the life, alone in its batch."""
    home.mkdir(parents=True, exist_ok=True)
    end = now() - timedelta(days=1)
    lives = [(what, max(1, n * scale.touchpoints // 1_000_000), journeys) for what, n, journeys in LIVES]
    with Machinery(home) as machinery:
        machinery.kafka()
        postgres = machinery.postgres()
        ingest, stitcher = machinery.service("ingest"), machinery.service("stitcher")
        there = 0
        lines: list[Line] = []
        for what, n, journeys in lives:
            await put(ingest.port, _life(what, n, journeys, end))
            there += n
            await stitched(machinery, stitcher, there)
            with spent(stitcher, postgres) as cpu:
                seconds = []
                for k in range(REPEATS):
                    late = _call(what, f"late-{k}", "Product Added", end - timedelta(hours=1, seconds=k))
                    seconds.append(await _seconds(machinery, ingest, stitcher, late, there + k + 1))
            there += REPEATS
            each = (cpu["stitcher"] + cpu["postgres"]) / REPEATS * 1000
            note = f"{each:.0f} ms of CPU each in stitcher and PostgreSQL, their idle work included"
            middle = statistics.median(seconds)
            lines.append(Line(NAME, f"late, {what}: acknowledged to stitched", middle, "s", note=note))
    return lines


def _life(who: str, n: int, journeys: int, end: datetime) -> Iterator[bytes]:
    """A minute between touchpoints, 40 days between journeys."""
    each = max(1, n // journeys)
    for k in range(n):
        journey, place = divmod(k, each)
        time = end - timedelta(days=40) * (journeys - 1 - journey) - timedelta(minutes=each - 1 - place)
        yield _call(who, f"{k}", EVENTS[k % len(EVENTS)][0], time)


def _call(who: str, id_: str, event: str, time: datetime) -> bytes:
    call = {"type": "track", "messageId": f"{who}-{id_}", "userId": who, "event": event, "timestamp": time.isoformat()}
    return json.dumps(call).encode()


async def _seconds(machinery: Machinery, ingest: Running, stitcher: Running, late: bytes, there: int) -> float:
    """From the acknowledgement to the commit."""
    await put(ingest.port, [late])
    started = time.perf_counter()
    await stitched(machinery, stitcher, there, every=0.005)
    return time.perf_counter() - started
