"""An answer in one piece: what a connection offers its app as an extension of ASGI, since uvicorn writes head and body
one after the other, and a write costs as much as half of the work on a touchpoint."""

from __future__ import annotations

from collections.abc import Callable
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
        if cycle.scope["method"] == "HEAD" or any(HEADER_VALUE_RE.search(value) for _, value in headers):
            return False
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        head = b"%b%bcontent-length: %d\r\n\r\n" % (STATUS_LINE[status], b"".join(lines), len(body))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(head + body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    return answer
