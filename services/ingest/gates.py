"""In front of the service: requests that are turned away before they are read, and connections that may not stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.ingest.addresses import Addresses, Proxies
from services.ingest.api import App, Receive, Scope, Send, Tracking
from services.ingest.at_once import EXTENSION, at_once
from services.ingest.errors import Refusal

OPEN: Final = frozenset(("/healthz", "/readyz", "/metrics"))  # who watches is let in when nobody else is
MAX_HEAD: Final = 64 * 1024  # bytes of a request line and headers
LOOK_SECONDS: Final = 1.0
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def _is_open(scope: Scope) -> bool:
    return scope["type"] != "http" or scope["method"] == "OPTIONS" or scope["path"] in OPEN


def by_address(tracking: Tracking, addresses: Addresses, proxies: Proxies, now: Callable[[], float]) -> App:
    """The service, for those whose address has not sent too much."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        wait = None if _is_open(scope) else _wait(scope)
        if wait is None:
            await tracking(scope, receive, send)
        else:
            refusal = Refusal("rate_exceeded", "your address sends more than its rate; try again later", wait)
            await tracking.turn_away(scope, receive, send, refusal)

    def _wait(scope: Scope) -> float | None:
        peer = (scope.get("client") or ("",))[0]
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        address = proxies.client(peer, forwarded.decode("latin-1"))
        return None if address is None else addresses.take(address, now())

    return gate


def when_full(tracking: Tracking) -> App:
    """What those get whose connection is one too many."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if _is_open(scope):
            await tracking(scope, receive, send)
        else:
            await tracking.turn_away(scope, receive, send, Refusal("overloaded", "too many connections are open"))

    return gate


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections there may be, what answers those beyond, and who hears why one was cut."""

    most: int
    full: App
    told: Callable[[str], None]


class Connection(HttpToolsProtocol):
    """A connection whose requests begin in time and with heads that end: uvicorn itself waits for both for ever.

    ``owing_since`` is when the client began to owe us something that nobody reads with a time limit of his own: the
    rest of a head, or of a body that was answered before it was whole. ``idle_since`` is when it had its last answer.
    """

    bounds: ClassVar[Bounds]
    owing_since: float | None = None
    idle_since: float | None = None
    _in_head = True
    _only_head = True  # what has just come is nothing but a part of a head
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.owing_since = self.loop.time()
        self._is_surplus = len(self.connections) > self.bounds.most
        if self._is_surplus:
            self.app = cast("Any", self.bounds.full)

    def data_received(self, data: bytes) -> None:
        self.idle_since = None
        if self._in_head and self.owing_since is None:
            self.owing_since = self.loop.time()
        self._only_head = self._in_head
        super().data_received(data)
        if self._only_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.write(_TOO_LARGE)
                self.cut("head_too_large")

    def on_headers_complete(self) -> None:
        self._in_head = self._only_head = False
        self._head_bytes, self.owing_since = 0, None
        super().on_headers_complete()
        cast("Scope", self.cycle.scope)[EXTENSION] = at_once(self.cycle)
        if self._is_surplus:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_head, self.owing_since = True, None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer for each request, which costs more than to read it: `watch` looks."""
        self.server_state.total_requests += 1
        if not self._in_head:
            self.owing_since = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.loop.time()

    def cut(self, cause: str) -> None:
        """Ends the connection without waiting for anybody."""
        self.bounds.told(cause)
        self.transport.close()


def bounded(bounds: Bounds) -> type[Connection]:
    """Connections within these bounds."""
    return type("Bounded", (Connection,), {"bounds": bounds})


async def watch(connections: Collection[Any], head_seconds: float) -> None:
    """Cuts those who owe us the rest for too long, closes those who were idle for too long, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, head_seconds))
        now = loop.time()
        for one in list(connections):
            if one.owing_since is not None and one.owing_since <= now - head_seconds:
                one.cut("too_slow")
            elif one.idle_since is not None and one.idle_since <= now - one.timeout_keep_alive:
                one.transport.close()
