"""The figures that the metrics service publishes for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNROUTED = "other"


class Telemetry:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "throughline_metrics_request_duration_seconds",
            "Time from a question to the end of its answer, by route and status.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.failures = Counter(
            "throughline_metrics_failures_total",
            "Questions that got no answer because of us, by code.",
            ("code",),
            registry=self.registry,
        )
        self._used = self._gauge("throughline_metrics_pool_connections_in_use", "Database connections in use now.")
        self._size = self._gauge("throughline_metrics_pool_connections", "Database connections open now.")
        self._listeners = self._gauge("throughline_metrics_stream_listeners", "Open change streams.")
        self.lag = self._gauge(
            "throughline_metrics_as_of_lag_seconds", "How old answers are: now minus as_of, when last looked at."
        )

    def watch(self, used: Callable[[], int], size: Callable[[], int], listeners: Callable[[], int]) -> None:
        """Reads these when somebody asks for the figures."""
        self._used.set_function(used)
        self._size.set_function(size)
        self._listeners.set_function(listeners)

    def _gauge(self, name: str, sentence: str) -> Gauge:
        return Gauge(name, sentence, registry=self.registry)


class Timed:
    """Measures every request but the endless ones."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, endless = perf_counter(), "500", False

        async def told(message: Message) -> None:
            nonlocal status, endless
            if message["type"] == "http.response.start":
                status = str(message["status"])
                endless = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            await send(message)

        try:
            await self.app(scope, receive, told)
        finally:
            if not endless:
                labels = (scope["method"], _route(scope), status)
                self.telemetry.requests.labels(*labels).observe(perf_counter() - began)


def _route(scope: Any) -> str:
    """The template of the route, so that no id becomes a label."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else UNROUTED
