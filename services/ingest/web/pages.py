"""The snippet at `/t.js`, the page to try it on at `/try`, and a word of welcome at `/`: files of this package."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.errors import Refusal
from services.ingest.sources import Senders
from shared.keys import DEMO_KEYS

HERE: Final = Path(__file__).parent
SNIPPET: Final = "/t.js"
FILES: Final = {
    SNIPPET: ("t.min.js", "text/javascript; charset=utf-8"),
    "/try.js": ("try.js", "text/javascript; charset=utf-8"),
    "/try.css": ("try.css", "text/css; charset=utf-8"),
    "/": ("index.html", "text/html; charset=utf-8"),
}
TRY: Final = "try.html"
_KEY: Final = b'data-key=""'
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_SNIPPET_HEADERS: Final = {  # pages of any origin load it, those with Cross-Origin-Embedder-Policy too
    "Cache-Control": "public, max-age=3600, stale-while-revalidate=86400",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class File:
    """A file in the forms in which it is sent: as it is, and gzipped, once."""

    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, content: bytes) -> File:
        return cls(content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:20])

    def answer(self, request: Request, kind: str, headers: dict[str, str]) -> Response:
        """200 with the file in the form that is asked for, or 304 to somebody who has that."""
        packed = "gzip" in request.headers.get("accept-encoding", "")
        tag = f'"{self.tag}{"-gzip" if packed else ""}"'
        headers = {**headers, "ETag": tag, **({"Content-Encoding": "gzip"} if packed else {})}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.packed if packed else self.plain, media_type=kind, headers=headers)


def web_routes() -> list[Route]:
    """One route a file, read once."""
    paths = [Route(path, _file((HERE / name).read_bytes(), path, kind)) for path, (name, kind) in FILES.items()]
    return [*paths, Route("/try", _try((HERE / TRY).read_bytes()))]


def _file(content: bytes, path: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    file, headers = File.of(content), _SNIPPET_HEADERS if path == SNIPPET else _HEADERS

    async def send(request: Request) -> Response:
        return file.answer(request, kind, headers)

    return send


def _try(content: bytes) -> Callable[[Request], Awaitable[Response]]:
    """The page, with a published key in it where that is one of ours; else it asks for a key."""
    forms = {key: File.of(content.replace(_KEY, f'data-key="{key}"'.encode())) for key in ("", *DEMO_KEYS)}

    async def send(request: Request) -> Response:
        senders: Senders = request.app.state.senders
        return forms[_demo_key(senders)].answer(request, "text/html; charset=utf-8", _HEADERS)

    return send


def _demo_key(senders: Senders) -> str:
    """A published key that may send; empty if there is none."""
    for key in sorted(DEMO_KEYS):
        try:
            senders.find(key)
        except Refusal:
            continue
        return key
    return ""
