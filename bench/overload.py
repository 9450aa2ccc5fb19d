"""Ingest under twice what it can take: what it answers, how fast it refuses, how much memory it needs, what is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.load import Tally, at_rate, flat_out, request
from bench.processes import Machinery, Running
from bench.result import Line, Scale
from bench.workload import Workload, bodies, now
from shared.touchpoint import TOUCHPOINTS

NAME = "overload"
SIZE = 100
CONNECTIONS = 3000
_MARK = b'"messageId":"1-'


async def measure(home: Path, scale: Scale) -> list[Line]:
    """First what it can take, then twice that for a while, with room for every request to be in flight at once."""
    home.mkdir(parents=True, exist_ok=True)
    prebuilt = list(bodies(Workload(2_000, 1_000, now()), SIZE))
    with Machinery(home) as machinery:
        machinery.kafka()
        machinery.postgres()
        ingest = machinery.service("ingest")
        idle = ingest.memory().pss
        able, took = await _able(ingest, prebuilt, scale.seconds / 3)
        acknowledged: set[int] = set()
        watching = asyncio.create_task(_peak(ingest))
        tally = await at_rate(
            ingest.port, lambda n: _numbered(prebuilt[n % len(prebuilt)], n), 2 * able / took, scale.seconds,
            CONNECTIONS, answered=lambda n, status, _: acknowledged.add(n) if status == 200 else None,
        )  # fmt: skip
        watching.cancel()
        (peak,) = await asyncio.gather(watching)
        lost = await _missing(machinery.environment, acknowledged)
    return _lines(tally, able / took * SIZE, idle, peak, lost)


async def _able(ingest: Running, prebuilt: list[bytes], seconds: float) -> tuple[int, float]:
    """Requests answered 200, and in how many seconds, by 16 connections that never wait."""
    started = time.perf_counter()

    def until() -> Iterator[bytes]:
        for body in cycle(prebuilt):
            if time.perf_counter() - started > seconds:
                return
            yield request("/v1/batch", body, key="bench-write")

    tally = await flat_out(ingest.port, until(), 16)
    return tally.statuses[200], time.perf_counter() - started


def _numbered(body: bytes, n: int) -> bytes:
    """The batch with ids of its own, so that it can be looked for on the log."""
    return request("/v1/batch", body.replace(_MARK, b'"messageId":"r%d-' % n), key="bench-write")


async def _peak(ingest: Running) -> int:
    """The most memory seen until it is cancelled, in bytes."""
    peak = 0
    try:
        while True:
            peak = max(peak, ingest.memory().pss)
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:
        return peak


async def _missing(environment: dict[str, str], acknowledged: set[int]) -> int:
    """How many touchpoints of acknowledged requests are not on the log."""
    found: dict[int, int] = dict.fromkeys(acknowledged, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"], enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(TOUCHPOINTS, p) for p in range(int(environment["KAFKA_PARTITIONS"]))]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    number, dash, _ = json.loads(record.value)["id"][1:].partition("-")
                    if dash and number.isdigit() and int(number) in found:
                        found[int(number)] += 1
    finally:
        await consumer.stop()
    return sum(max(0, SIZE - n) for n in found.values())


def _lines(tally: Tally, able: float, idle: int, peak: int, lost: int) -> list[Line]:
    answers = f"answers {dict(tally.statuses)}, unsent {tally.unsent}, without answer {tally.lost}"
    return [
        Line(NAME, "what ingest takes, batches of 100", able, "touchpoints/s"),
        Line(NAME, "at twice that: acknowledged but not on the log", lost, "touchpoints", 0, note=answers),
        Line(NAME, "at twice that: 503 answered, p99", tally.quantile(0.99, 503) * 1000, "ms"),
        Line(NAME, "at twice that: 200 answered, p99", tally.quantile(0.99) * 1000, "ms"),
        Line(NAME, "at twice that: memory of ingest", peak / 1e6, "MB", note=f"{idle / 1e6:.0f} MB when idle"),
    ]
