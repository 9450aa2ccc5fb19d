"""A shop whose pages carry the snippet, on origins of their own, and a gate before ingest that refuses when told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from services.ingest.cors import answer_headers
from services.ingest.errors import Refusal

STUB = (
    'throughline=window.throughline||[];["page","track","identify","reset","group","consent","ask"]'
    ".forEach(name=>throughline[name]=(...given)=>throughline.push([name,given]))"
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Café</title><link rel="icon" href="data:,">
<script>{stub}</script>{early}<script async src="{ingest}/t.js" {attributes}></script>
<h1>Shop</h1><button id="buy">Buy</button></html>"""


class _Server(ThreadingHTTPServer):
    """Threads that answer the same browser end with it."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@dataclass
class Gate:
    """Forwards to ingest and keeps what was sent; answers POSTs with the next of ``refusals``, as ingest would."""

    ingest: httpx.Client
    sent: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def posts_with(self, event: str) -> list[dict[str, Any]]:
        """The batches that carried an event (or page) of this name."""
        return [
            body for body in self.sent if any(event in (one.get("event"), one.get("name")) for one in body["batch"])
        ]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        if method == "POST":
            self.sent.append(json.loads(body))
            if self.refusals:
                return self._refused(self.refusals.pop(0), headers.get("Origin", ""))
        kept = [(name, headers[name]) for name in ("Origin", "Content-Type", "Accept-Encoding") if name in headers]
        return self.ingest.request(method, path, headers=kept, content=body)

    @staticmethod
    def _refused(refusal: Refusal, origin: str) -> httpx.Response:
        headers = [*refusal.headers, *answer_headers(origin.encode())]
        return httpx.Response(refusal.status, headers=headers, content=refusal.body())


@contextlib.contextmanager
def gate_before(ingest: str) -> Iterator[tuple[Gate, str]]:
    """A gate and its URL."""
    gate = Gate(httpx.Client(base_url=ingest, timeout=20))

    class Handler(_Quiet):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = gate.answer(self.command, self.path, dict(self.headers), body)
            headers = [(name, value) for name, value in answer.headers.multi_items() if name not in _OWN]
            self.reply(answer.status_code, headers, answer.content)

        do_POST = do_GET

    with gate.ingest, _serving(Handler) as port:
        yield gate, f"http://localhost:{port}"


@contextlib.contextmanager
def shop_at(ingest: str) -> Iterator[int]:
    """The port of a shop whose every path is a page; ``?required`` in it asks for consent, ``?key=`` sends another key,
    ``?early=`` calls before the snippet is there. Browsers find it under any name that ends in `.localhost`."""

    class Handler(_Quiet):
        def do_GET(self) -> None:
            query = httpx.URL(self.path).params
            attributes = f'data-key="{query.get("key", "shop-key")}"'
            if "required" in query:
                attributes += ' data-consent="required"'
            early = f"<script>{query['early']}</script>" if "early" in query else ""
            page = PAGE.format(stub=STUB, early=early, ingest=ingest, attributes=attributes)
            self.reply(200, [("Content-Type", "text/html; charset=utf-8")], page.encode())

    with _serving(Handler) as port:
        yield port


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_OWN = frozenset(("content-length", "content-encoding", "date", "connection", "transfer-encoding"))


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = _Server(handler)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
