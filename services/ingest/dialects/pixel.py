"""Pixels of Segment and RudderStack: a touchpoint in the query of an image's URL. Pure.

A mail or a page shows a broken image for anything but an image, so the answer is always 200 and a GIF; what went wrong
is counted like everything else, and named in the headers `throughline-refused` and `throughline-rejected`.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final

import msgspec

from services.ingest.accept import TYPES
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome
from services.ingest.dialects.packed import unpacked
from services.ingest.dialects.raw import Parsed
from services.ingest.dialects.segment import parse_call
from services.ingest.errors import Refusal

GIF: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # one transparent pixel
MAX_PARTS: Final = 8  # of a dotted name; what follows stays one name
_FRESH: Final = (b"cache-control", b"no-store")
_ENCODE: Final = msgspec.json.Encoder().encode


def parse(type_: str, call: Call) -> Parsed:
    """`?data=` with base64 of JSON, or names with dots: `properties.plan=free`. Raises Refusal."""
    given = call.query.get("data")
    return parse_call(type_, unpacked(given.encode()) if given else _ENCODE(nested(call)))


def nested(call: Call) -> dict[str, Any]:
    """The query as an object."""
    result: dict[str, Any] = {}
    for dotted, value in call.query.items():
        *path, name = dotted.split(".", MAX_PARTS)
        place = result
        for part in path:
            inner = place.setdefault(part, {})
            place = inner if isinstance(inner, dict) else {}
        place.setdefault(name, value)
    return result


def answer(outcome: Outcome) -> Answer:
    return _image(tuple((b"throughline-rejected", wrong.reason.encode()) for _, wrong in outcome.rejected))


def refuse(refusal: Refusal) -> Answer:
    return _image(((b"throughline-refused", refusal.code.encode()),))


def _image(told: tuple[tuple[bytes, bytes], ...]) -> Answer:
    return Answer(GIF, "image/gif", headers=(_FRESH, *told))


def _pixel(type_: str) -> Dialect:
    def again(call: Call, _: object) -> Parsed:
        return parse_call(type_, call.body)

    return Dialect("pixel", lambda call: parse(type_, call), answer, refuse, frozenset(("GET",)), again=again)


ROUTES: Final[dict[str, Dialect]] = {
    **{f"/v1/pixel/{type_}": _pixel(type_) for type_ in sorted(TYPES)},
    **{f"/pixel/v1/{type_}": _pixel(type_) for type_ in ("track", "page")},
}
