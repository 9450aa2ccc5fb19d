"""What the stitcher tells Prometheus: every metric with a sentence, base units, no ids in labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FRESHNESS = (0.01, 0.025, 0.05, 0.1, 0.175, 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2, 5, 15, 60, 300)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 20_000, 50_000)


class Telemetry:
    """One registry for the process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.stitched = Counter(
            "throughline_touchpoints_stitched_total", "Touchpoints taken into journeys.", registry=registry
        )
        self.duplicates = Counter(
            "throughline_touchpoints_duplicate_total", "Touchpoints that had been there before.", registry=registry
        )
        self.skipped = Counter(
            "throughline_touchpoints_skipped_total", "Touchpoints that are read and not stitched.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.batch_sizes = Histogram(
            "throughline_stitcher_batch_records", "Records in one transaction.", ["topic"], buckets=SIZES,
            registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "throughline_stitcher_batch_seconds", "How long one transaction took.", ["topic"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.step_seconds = Counter(
            "throughline_stitcher_step_seconds_total", "Time spent by step of a batch.", ["step"], registry=registry
        )
        self.lag = Gauge(
            "throughline_stitcher_lag_records", "Records on the log that are not in the tables yet.",
            ["topic", "partition"], registry=registry,
        )  # fmt: skip
        self.lag_seconds = Gauge(
            "throughline_stitcher_lag_seconds", "Everything acknowledged longer ago than this is in the tables.",
            ["topic", "partition"], registry=registry,
        )  # fmt: skip
        self.freshness = Histogram(
            "throughline_stitcher_freshness_seconds", "From a touchpoint's reception to its being in the answers.",
            buckets=FRESHNESS, registry=registry,
        )  # fmt: skip
        self.refolds = Counter(
            "throughline_stitcher_refolds_total", "Profiles folded again from stored touchpoints.", ["cause"],
            registry=registry,
        )  # fmt: skip
        self.dead_letters = Counter(
            "throughline_stitcher_dead_letters_total", "Records put with the dead letters.", ["topic", "reason"],
            registry=registry,
        )  # fmt: skip
        self.letters_expired = Counter(
            "throughline_stitcher_dead_letters_expired_total", "Dead letters taken away for their age, or for room.",
            ["limit"], registry=registry,
        )  # fmt: skip
        self.letter_bytes = Gauge(
            "throughline_stitcher_dead_letter_bytes", "What the dead letters hold; by whoever keeps the clock.",
            registry=registry,
        )  # fmt: skip
        self.retries = Counter(
            "throughline_stitcher_retries_total", "Transactions tried again after a deadlock or the like.", ["topic"],
            registry=registry,
        )  # fmt: skip
        self.rebalances = Counter(
            "throughline_stitcher_rebalances_total", "Times that partitions were given to this process.", ["topic"],
            registry=registry,
        )  # fmt: skip
        self.fenced = Counter(
            "throughline_stitcher_fenced_total", "Transactions refused because somebody else had the partition.",
            ["topic"], registry=registry,
        )  # fmt: skip
        self.journeys = Gauge(
            "throughline_journeys", "Journeys by status, as the rollups have them.", ["map", "version", "status"],
            registry=registry,
        )  # fmt: skip
        self.stages = Gauge(
            "throughline_stage_journeys", "Open journeys by the stage they are in.", ["map", "version", "stage"],
            registry=registry,
        )  # fmt: skip
        self.closed = Counter(
            "throughline_clock_journeys_total", "Journeys that time closed or stalled.", ["status"], registry=registry
        )
        self.clock_lag = Gauge(
            "throughline_clock_lag_seconds", "How far the clock that closes journeys is behind.", registry=registry
        )
        self.published = Counter(
            "throughline_changes_published_total", "Records published on journeys.changes.", registry=registry
        )
        self.pool = Gauge(
            "throughline_stitcher_pool_connections", "Connections to PostgreSQL, by use.", ["use"], registry=registry
        )

    def step(self, name: str, seconds: float) -> None:
        """Adds to the time spent in one step."""
        self.step_seconds.labels(name).inc(seconds)

    def batch(self, topic: str, records: int, seconds: float, durations: Mapping[str, float]) -> None:
        """One transaction is committed; beats are none."""
        if records:
            self.batch_sizes.labels(topic).observe(records)
            self.batch_seconds.labels(topic).observe(seconds)
            for name, spent in durations.items():
                self.step(name, spent)

    def as_of(self, topic: str, partition: int, instant: int) -> None:
        """A partition is complete up to an instant, in microseconds."""
        gauge = self.lag_seconds.labels(topic, str(partition))
        gauge.set_function(partial(_age, instant))

    def forget(self, topic: str, partition: int) -> None:
        """The partition is somebody else's to tell about."""
        for gauge in (self.lag, self.lag_seconds):
            gauge.remove(topic, str(partition))

    def fresh(self, received_at: Iterable[int], now: int) -> None:
        """Touchpoints received at these instants can be asked for now; a sample stands for all of a large batch."""
        instants = list(received_at)
        for instant in instants[:: max(1, len(instants) // 100)]:
            self.freshness.observe(max(0.0, (now - instant) / 1e6))

    def watch_pool(self, pool: Any) -> None:
        """Tells about the pool's connections at each scrape."""
        uses: dict[str, Callable[[], float]] = {
            "busy": lambda: pool.get_size() - pool.get_idle_size(), "idle": pool.get_idle_size,
            "most": pool.get_max_size,
        }  # fmt: skip
        for use, count in uses.items():
            self.pool.labels(use).set_function(count)


def _age(instant: int) -> float:
    return max(0.0, time.time() - instant / 1e6)
