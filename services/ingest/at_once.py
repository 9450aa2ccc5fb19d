"""An answer in one piece: what a connection offers its app as an extension of ASGI, since uvicorn writes head and body
one after the other, and a write costs as much as half of the work on a touchpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from services.ingest.cors import HeaderList

EXTENSION: Final = "throughline.at_once"
AtOnce = Callable[[int, HeaderList, bytes], bool]


def at_once(cycle: RequestResponseCycle) -> AtOnce:
    """Writes status, headers and body; False, and nothing is written, where ASGI's own messages have to do it."""

    def answer(status: int, headers: HeaderList, body: bytes) -> bool:
        if cycle.disconnected or cycle.response_started or cycle.flow.write_paused or not cycle.keep_alive:
            return False
        head = _head(status, (*cycle.default_headers, *headers))
        if head is None or cycle.scope["method"] == "HEAD":
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    return answer


@lru_cache(maxsize=128)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    """Status line and headers: the same for all answers of a second but for a few. None if a value must not be sent."""
    if any(HEADER_VALUE_RE.search(value) for _, value in headers):
        return None
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
