"""Between an SDK and ingest: a proxy that does to its first requests what networks, and we, do to clients."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Deed = Literal["pass", "busy", "away", "lost", "broken", "keyless", "huge"]
ASKING = ("/flags", "/v1/m")  # what SDKs post beside touchpoints
CREDENTIALS = ("authorization", "x-write-key")
HUGE = b" " * (6 * 1024 * 1024)


@dataclass
class Proxy:
    """``deeds`` are done to the tracking requests in the order in which they come, ``pass`` to all that follow:
    ``busy`` asks the ingest whose rate is used up, ``away`` the one that has no log; ``lost`` takes the answer away;
    the others spoil what was sent. ``statuses`` are those that ingest answered them with."""

    ingest: str
    busy: str
    away: str
    deeds: list[Deed]
    port: int = 0
    statuses: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self) -> Deed:
        with self.lock:
            return self.deeds.pop(0) if self.deeds else "pass"


def spoiled(deed: Deed, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """What is sent on instead."""
    if deed not in ("broken", "keyless", "huge"):
        return headers, body
    kept = {name: value for name, value in headers.items() if name != "content-encoding"}
    if deed == "keyless":
        return {name: value for name, value in kept.items() if name not in CREDENTIALS}, b'{"batch": [], "data": []}'
    return kept, HUGE if deed == "huge" else b'{"batch": ['


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True  # the client went; so do we

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            sends = self.command == "POST" and not self.path.startswith(ASKING)
            deed: Deed = proxy.next() if sends else "pass"
            status, headers, said = self.ask(deed, body)
            if sends:
                proxy.statuses.append(status)
            if deed == "lost":
                self.close_connection = True
                return
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def ask(self, deed: Deed, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            if deed == "busy":
                self.ask_at(proxy.busy, deed, body)  # uses up what there is
            return self.ask_at({"busy": proxy.busy, "away": proxy.away}.get(deed, proxy.ingest), deed, body)

        def ask_at(self, url: str, deed: Deed, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            at = urlsplit(url)
            headers, body = spoiled(deed, {name.lower(): value for name, value in self.headers.items()}, body)
            headers["content-length"] = str(len(body))
            connection = http.client.HTTPConnection(at.netloc, timeout=30)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            return answer.status, [pair for pair in answer.getheaders() if pair[0] != "connection"], said

        do_GET = do_POST = do_OPTIONS = answer

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def between(ingest: str, busy: str, away: str, deeds: Sequence[Deed]) -> Iterator[Proxy]:
    proxy = Proxy(ingest, busy, away, [*deeds])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    server.daemon_threads = True
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
