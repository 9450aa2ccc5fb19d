"""What ingest tells Prometheus: every metric, one sentence each. No ids in labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2500)


class Histogram(Collector):
    """Observations in buckets, for one thread: a fifth of what the client library's own costs on each request."""

    def __init__(self, name: str, sentence: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name, self._sentence, self._bounds = name, sentence, buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, amount: float) -> None:
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = (*map(str, self._bounds), "+Inf")
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._sentence, buckets=buckets, sum_value=self._sum)


class Telemetry:
    """The metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        registry = self.registry
        self.accepted = Counter(
            "throughline_touchpoints_accepted_total",
            "Touchpoints that the log acknowledged.",
            ["source"],
            registry=registry,
        )
        self.rejected = Counter(
            "throughline_touchpoints_rejected_total", "Touchpoints that were rejected, by reason.",
            ["source", "reason"], registry=registry,
        )  # fmt: skip
        self.dropped = Counter(
            "throughline_identifiers_dropped_total", "Identifiers that were not used: placeholders and unknown kinds.",
            ["source", "reason"], registry=registry,
        )  # fmt: skip
        self.bots = Counter(
            "throughline_touchpoints_bot_total", "Touchpoints whose user agent is that of a bot.", ["source"],
            registry=registry,
        )  # fmt: skip
        self.plan_violations = Counter(
            "throughline_plan_violations_total", "Touchpoints that are not as the tracking plan has it, by its event.",
            ["source", "event"], registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "throughline_ingest_refused_total", "Requests that were answered with an error, by its code.",
            ["code"], registry=registry,
        )  # fmt: skip
        self.cut = Counter(
            "throughline_ingest_connections_cut_total", "Connections that were ended for what they owed, by cause.",
            ["cause"], registry=registry,
        )  # fmt: skip
        self.connections = Gauge("throughline_ingest_connections", "Connections that are open.", registry=registry)
        self.body_bytes = Counter(
            "throughline_ingest_body_bytes_total", "Bytes of bodies as they came, compressed or not.", registry=registry
        )
        self.request_seconds = Histogram(
            "throughline_ingest_request_seconds", "From the first byte to the answer of a tracking request.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.append_seconds = Histogram(
            "throughline_ingest_append_seconds", "From handing records to the log to its acknowledgement.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.batch_touchpoints = Histogram(
            "throughline_ingest_batch_touchpoints", "Touchpoints in a request.", buckets=_SIZES, registry=registry
        )
        self.in_flight = Gauge(
            "throughline_ingest_in_flight_requests", "Tracking requests that are being worked on.", registry=registry
        )
        self.in_flight_bytes = Gauge(
            "throughline_ingest_in_flight_bytes", "Bytes of bodies and records that are held.", registry=registry
        )
