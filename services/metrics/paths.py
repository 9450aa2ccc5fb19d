"""Paths whose segments stay percent-encoded, so that an identifier may hold a slash."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = b"/v1/profiles/"


class EncodedSegments:
    """Routes what lies under PREFIX by the path as it was sent; the handlers decode their segment."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and raw.startswith(PREFIX):
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")
        await self.app(scope, receive, send)
