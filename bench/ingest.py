"""Ingest on real Kafka, acknowledged by the log: batches of 100, of 20, single calls; beside the baseline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from bench.load import Tally, flat_out, request
from bench.processes import Machinery, Running, spent
from bench.result import Line, Scale
from bench.workload import Workload, bodies, now
from throughline.ports import free_port

NAME = "ingest"
SIZES = ((100, 16, 10.0, 5.0), (20, 32, 12.0, 6.0), (1, 64, 80.0, 42.0))  # size, connections, floor, aim
PREBUILT = 20_000  # touchpoints; requests repeat them, since ingest does not know duplicates


async def measure(home: Path, scale: Scale) -> list[Line]:
    """Ours, then the baseline on a tenth of it."""
    home.mkdir(parents=True, exist_ok=True)
    lines = list(Workload(min(PREBUILT, scale.touchpoints), 10_000, now()))
    with Machinery(home) as machinery:
        kafka = machinery.kafka()
        machinery.postgres()
        ours = machinery.service("ingest")
        found = []
        for size, connections, floor, aim in SIZES:
            count = scale.touchpoints if size > 1 else scale.touchpoints // 5
            found += await _run("ours", ours, kafka, lines, size, connections, count, (floor, aim))
        plain = _baseline(machinery)
        for size, connections, _, _ in SIZES:
            found += await _run("baseline", plain, kafka, lines, size, connections, scale.touchpoints // 20, None)
    return found


def _baseline(machinery: Machinery) -> Running:
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", "bench.baselines.ingest:app", "--port", str(port), "--no-access-log"]
    return machinery.command("baseline", [*words, "--log-level", "warning"], port, "/healthz", {})


async def _run(
    who: str, service: Running, kafka: Running, lines: list[bytes], size: int, connections: int, count: int,
    targets: tuple[float, float] | None,
) -> list[Line]:  # fmt: skip
    path = "/v1/track" if size == 1 else "/v1/batch"
    prebuilt = [request(path, body, key="bench-write") for body in bodies(lines, size)]
    await flat_out(service.port, prebuilt[:20], connections)
    requests: Iterator[bytes] = islice(cycle(prebuilt), count // size)
    with spent(service, kafka) as cpu:
        started = time.perf_counter()
        tally = await flat_out(service.port, requests, connections)
        took = time.perf_counter() - started
    return _lines(who, size, count // size * size, took, tally, cpu, service.name, targets)


def _lines(
    who: str, size: int, count: int, took: float, tally: Tally, cpu: dict[str, float], name: str,
    targets: tuple[float, float] | None,
) -> list[Line]:  # fmt: skip
    what = f"{who}, {'single calls' if size == 1 else f'batches of {size}'}"
    floor, aim = targets or (None, None)
    failed = sum(tally.statuses.values()) - tally.statuses[200] + tally.lost
    broker = f"broker {cpu['kafka'] / count * 1e6:.1f} more; {failed} of {count // size} requests failed"
    return [
        Line(NAME, f"{what}: CPU", cpu[name] / count * 1e6, "CPU-s per million", floor, aim, note=broker),
        Line(NAME, f"{what}: rate", tally.statuses[200] * size / took, "touchpoints/s"),
        Line(NAME, f"{what}: p50", tally.quantile(0.5) * 1000, "ms"),
        Line(NAME, f"{what}: p99", tally.quantile(0.99) * 1000, "ms"),
    ]
