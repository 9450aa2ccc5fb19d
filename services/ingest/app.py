"""The ingest service put together: takes touchpoints over HTTP and appends them to the log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import getrandbits
from typing import Any, Final, cast

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.ingest import clients, commands, docs
from services.ingest.addresses import Addresses, Proxies, networks
from services.ingest.api import App, Edge, Tracking
from services.ingest.commands import Room
from services.ingest.configuration import Configuration, read_configuration
from services.ingest.errors import MEDIA_TYPE, Refusal
from services.ingest.gates import Bounds, bounded, by_address, watch, when_full
from services.ingest.in_flight import Limits
from services.ingest.log import Log
from services.ingest.rates import bucket
from services.ingest.settings import IngestSettings
from services.ingest.telemetry import Telemetry
from services.ingest.web.pages import web_routes
from shared.eventlog.group_commit import Limits as AppendLimits
from shared.eventlog.open import open_admin, open_appender
from shared.eventlog.port import Appender, LogUnavailable
from shared.health import Check, health_routes
from shared.identifiers import load_identity
from shared.keys import Reader, Source, has_demo_key
from shared.logs import configure
from shared.migrations import migrate
from shared.reloading import ReloadGauges, Reloading
from shared.seals import seals_of

KEEP_ALIVE_SECONDS: Final = 90
DRAIN_SECONDS: Final = 20
SPARE_FILES: Final = 256
_log = structlog.get_logger(__name__)


async def serve(settings: IngestSettings) -> None:
    """Takes touchpoints until SIGTERM or SIGINT, then drains; ValueError in a sentence if it is misconfigured."""
    configure(settings.log_level, settings.log_format)
    edge = the_edge()
    first = permitted(settings, edge)
    if not settings.kafka_bootstrap_servers and settings.database_url is not None:
        await migrate(settings.database_url)
    limits = AppendLimits(timeout=settings.ingest_append_seconds)
    log = Log(open_appender(settings, limits), open_admin(settings), settings.kafka_partitions)
    ingest = build(settings, first, edge=edge, appender=log, checks={"log": log.check})
    reloading = Reloading(
        settings.throughline_config,
        lambda: permitted(settings, edge, ingest.tracking.configuration),
        ingest.configure,
        ReloadGauges(ingest.telemetry.registry),
    )
    beside = [asyncio.create_task(log.open()), asyncio.create_task(reloading.run(settings.throughline_reload_seconds))]
    try:
        await _run(ingest, settings, reloading.wake)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await log.stop()


def permitted(settings: IngestSettings, edge: Edge, before: Configuration | None = None) -> Configuration:
    """What the files say now; ValueError in a sentence if that cannot or must not be."""
    found = read_configuration(settings, edge.now, before)
    refuse_demo_keys(settings, found.sources, found.readers)
    return found


@dataclass(frozen=True, slots=True)
class Ingest:
    """The service: the tracking paths in front, FastAPI behind."""

    tracking: Tracking
    behind: FastAPI
    telemetry: Telemetry
    front: App

    def configure(self, fresh: Configuration) -> None:
        """Puts a configuration in force, between two requests."""
        self.tracking.configure(fresh)
        self.behind.state.senders = fresh.senders
        self.behind.state.room = replace(self.behind.state.room, admins=fresh.admins)


def build(
    settings: IngestSettings, first: Configuration, *, edge: Edge, appender: Appender, checks: dict[str, Check]
) -> Ingest:
    """The service over a log."""
    telemetry = Telemetry()
    rules, seals = load_identity(settings.throughline_config), seals_of(settings.throughline_deadletter_key)
    limits = Limits(settings.ingest_max_requests, settings.ingest_max_bytes, settings.ingest_body_seconds)
    behind = FastAPI(
        title="Throughline ingest", version="1", description="Takes touchpoints, and commands about identity.",
        redirect_slashes=False,  # a redirect turns a POST into a GET and loses its body
    )  # fmt: skip
    behind.state.room = Room(first.admins, appender, rules, edge)
    behind.state.senders = first.senders
    behind.include_router(commands.router)
    behind.include_router(clients.router)
    behind.router.routes.extend(health_routes(checks, telemetry.registry))
    behind.router.routes.extend(web_routes())
    _handle_refusals(behind, telemetry)
    _document(behind)
    proxied = cast("App", ProxyHeadersMiddleware(cast("Any", behind), settings.ingest_trusted_proxies))
    tracking = Tracking(first, rules, appender, limits=limits, edge=edge, telemetry=telemetry, rest=proxied,
                        seal=seals.seal if seals else None)  # fmt: skip
    return Ingest(tracking, behind, telemetry, gated(settings, tracking, edge))


def gated(settings: IngestSettings, tracking: Tracking, edge: Edge) -> App:
    """The service behind the gate of addresses, if there is one."""
    rate = settings.ingest_address_rate
    if rate is None:
        return tracking
    addresses = Addresses(lambda: bucket(rate))
    return by_address(tracking, addresses, Proxies(networks(settings.ingest_trusted_proxies)), edge.monotonic)


def the_edge() -> Edge:
    """The real clocks and real randomness; ids are random enough to be unique, and cheap."""
    return Edge(now=lambda: datetime.now(UTC), monotonic=time.monotonic, new_id=new_id, new_traceparent=new_traceparent)


def new_id() -> str:
    """A random UUID (version 4)."""
    digits = bytearray(os.urandom(16))
    digits[6], digits[8] = digits[6] & 0x0F | 0x40, digits[8] & 0x3F | 0x80
    text = digits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_traceparent() -> bytes:
    """A W3C trace that begins here, not sampled."""
    return b"00-%032x-%016x-00" % (getrandbits(128), getrandbits(64))


def refuse_demo_keys(settings: IngestSettings, sources: Sequence[Source], readers: Sequence[Reader]) -> None:
    """Published keys are for this machine only, unless somebody says otherwise."""
    keys = [*((one.name, one.keys) for one in sources), *((one.name, one.keys) for one in readers)]
    demo = [name for name, of in keys if has_demo_key(of)]
    if not demo:
        return
    if not settings.on_loopback and not settings.throughline_allow_demo_keys:
        raise ValueError(
            f"{settings.throughline_config}: {', '.join(demo)} has a published demo key, and "
            f"{settings.throughline_host} is not this machine alone; replace the key or set "
            "THROUGHLINE_ALLOW_DEMO_KEYS=1"
        )
    _log.warning("published demo keys may send and command; replace them in sources.yaml and readers.yaml", names=demo)


def _handle_refusals(app: FastAPI, telemetry: Telemetry) -> None:
    def answer(refusal: Refusal) -> Response:
        telemetry.refused.labels(refusal.code).inc()
        headers = {name.decode(): value.decode() for name, value in refusal.headers}
        return JSONResponse(refusal.problem(), refusal.status, headers, MEDIA_TYPE.decode())

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return answer(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors())
        unreadable = any(each["type"] == "json_invalid" for each in error.errors())
        return answer(Refusal("body_not_json" if unreadable else "value_invalid", wrong))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        codes = {400: "body_not_json", 405: "method_not_allowed"}
        response = answer(Refusal(codes.get(error.status_code, "not_found")))
        response.headers.update(error.headers or {})
        return response

    async def away(_: Request, error: Exception) -> Response:
        _log.warning("a command was refused", why=str(error))
        return answer(Refusal("log_unavailable", retry_after=2))

    async def broken(_: Request, error: Exception) -> Response:
        return answer(Refusal("internal"))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(LogUnavailable, away)
    app.add_exception_handler(Exception, broken)


def _document(app: FastAPI) -> None:
    """Once made, the schema is kept by FastAPI."""
    plain = app.openapi

    def extended() -> dict[str, Any]:
        return app.openapi_schema or docs.extend(plain())

    app.openapi = extended  # type: ignore[method-assign]


def allow_files(wanted: int) -> None:
    """A connection is an open file: as many as we want, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Leaves the signals to `_run`, which has a log to close after the last answer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(ingest: Ingest, settings: IngestSettings, reload: Callable[[], None]) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # what a request makes has no cycles and dies with it
    allow_files(settings.ingest_max_connections + SPARE_FILES)
    telemetry = ingest.telemetry
    bounds = Bounds(
        settings.ingest_max_connections, when_full(ingest.tracking), lambda cause: telemetry.cut.labels(cause).inc()
    )
    config = uvicorn.Config(
        cast("Any", ingest.front),
        http=bounded(bounds),
        host=settings.throughline_host,
        port=settings.ingest_port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the tracking paths have no use for them; `build` puts them before the rest
        ws="none",
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, lambda: setattr(server, "should_exit", True))
    loop.add_signal_handler(signal.SIGHUP, reload)
    connections = server.server_state.connections
    telemetry.connections.set_function(lambda: len(connections))
    watching = asyncio.create_task(watch(connections, settings.ingest_head_seconds))
    try:
        await server.serve()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if not server.started:
        raise ValueError(f"port {settings.ingest_port} of {settings.throughline_host} cannot be listened on")
