"""Jitsu's API: Segment's single calls on paths of its own, answered as its SDK wants it. Pure.

Its SDK masks the key in the body (`id:***`); the header X-Write-Key has the whole one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.ingest.accept import TYPES
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome, told
from services.ingest.dialects.raw import Parsed
from services.ingest.dialects.segment import parse_call

_ENCODE: Final = msgspec.json.Encoder().encode


def answer(outcome: Outcome) -> Answer:
    """Anything but JSON makes the SDK log an error."""
    return Answer(_ENCODE({"ok": True, "success": True, "destinations": [], **told(outcome)}))


def _single(type_: str) -> Dialect:
    def parse(call: Call) -> Parsed:
        return parse_call(type_, call.body)

    return Dialect("jitsu", parse, answer)


ROUTES: Final[dict[str, Dialect]] = {
    f"/api/s/{place}{type_}": _single(type_) for type_ in sorted(TYPES) for place in ("", "s2s/")
}
