"""Jitsu's API: Segment's single calls on paths of its own, answered as its SDK wants it. Pure.

Its SDK masks the key in the body (`id:***`); the header X-Write-Key has the whole one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.ingest.accept import TYPES
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome, told
from services.ingest.dialects.raw import Parsed, RawTouchpoint
from services.ingest.dialects.segment import parse_call

_ENCODE: Final = msgspec.json.Encoder().encode


def answer(outcome: Outcome) -> Answer:
    """Anything but JSON makes the SDK log an error."""
    return Answer(_ENCODE({"ok": True, "success": True, "destinations": [], **told(outcome)}))


def _single(type_: str) -> Dialect:
    def parse(call: Call) -> Parsed:
        parsed = parse_call(type_, call.body)
        if type_ == "page" and (page := parsed.items[0]) is not None:
            _name(page)
        return parsed

    return Dialect("jitsu", parse, answer)


def _name(page: RawTouchpoint) -> None:
    """`page(name, properties)` puts the name among the properties."""
    if page.name is None and isinstance(page.properties, dict):
        page.name = page.properties.get("name")


ROUTES: Final[dict[str, Dialect]] = {
    f"/api/s/{place}{type_}": _single(type_) for type_ in sorted(TYPES) for place in ("", "s2s/")
}
