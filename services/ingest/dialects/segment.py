"""The Segment HTTP tracking API, as Segment's and RudderStack's SDKs speak it. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from services.ingest import hygiene
from services.ingest.dialects.dialect import Call, Dialect
from services.ingest.dialects.raw import FreeObject, Parsed, RawTouchpoint
from services.ingest.errors import Refusal

CALLS: Final = {"track": "track", "identify": "identify", "page": "page", "screen": "screen", "group": "group",
                "alias": "alias", "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group",
                "a": "alias"}  # fmt: skip
BATCHES: Final = ("batch", "b", "import")


class _Fast(RawTouchpoint, rename="camel", kw_only=True, gc=False):
    """A touchpoint whose free-form parts are clean; a body that is not fails to decode to it."""

    properties: FreeObject | None = None
    traits: FreeObject | None = None
    context: FreeObject | None = None


class _Single(_Fast, rename="camel", kw_only=True, gc=False):
    """The body of a single call: the touchpoint, with the key of the sender beside it."""

    write_key: Any = None


class _Envelope(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """The body of a batch."""

    batch: list[_Fast]
    context: FreeObject | None = None
    sent_at: Any = None
    write_key: Any = None


_CALL: Final = msgspec.json.Decoder(_Single)
_BATCH: Final = msgspec.json.Decoder(_Envelope)
_FAILURES: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MEMBERS: Final = tuple(
    (field.name, field.encode_name) for field in msgspec.structs.fields(RawTouchpoint) if "<" not in field.encode_name
)


def parse_call(type_: str, body: bytes) -> Parsed:
    """One touchpoint, whose type the path says. Raises Refusal for a body that is no JSON object."""
    if hygiene.may_decode_fast(body):
        try:
            call = _CALL.decode(body)
        except _FAILURES:
            pass
        else:
            call.type = type_
            return Parsed([call], None, call.write_key, lambda _: body)
    plain = _object(body)
    raw = _raw(plain, {})
    raw.type = type_
    return Parsed([raw], None, plain.get("writeKey"), lambda _: body)


def parse_batch(body: bytes) -> Parsed:
    """Many touchpoints, each with its type. Raises Refusal for a body that is no object with a list `batch`."""
    if hygiene.may_decode_fast(body):
        try:
            envelope = _BATCH.decode(body)
        except _FAILURES:
            pass
        else:
            if envelope.context:
                for item in envelope.batch:
                    item.context = {**envelope.context, **(item.context or {})}
            items: list[RawTouchpoint | None] = [*envelope.batch]
            original = hygiene.originals(body, "batch")
            return Parsed(items, envelope.sent_at, envelope.write_key, original, shared=envelope.context)
    return _parse_batch_carefully(body)


def from_rows(rows: list[Any]) -> list[RawTouchpoint | None]:
    """Raw touchpoints from plain dicts with the names of the API, such as rows of an imported file."""
    return [_raw(row, {}) if isinstance(row, dict) else None for row in rows]


def _parse_batch_carefully(body: bytes) -> Parsed:
    plain = _object(body)
    rows = plain.get("batch")
    if not isinstance(rows, list):
        raise Refusal("batch_missing")
    shared = plain.get("context")
    if hygiene.depth(shared) >= hygiene.MAX_DEPTH:
        raise Refusal("body_too_deep")
    context = shared if isinstance(shared, dict) else {}
    items = [_raw(row, context) if isinstance(row, dict) else None for row in rows]
    original = hygiene.originals(body, "batch")
    return Parsed(items, plain.get("sentAt"), plain.get("writeKey"), original, shared=context)


def _object(body: bytes) -> dict[str, Any]:
    plain = hygiene.read(body)
    if not isinstance(plain, dict):
        raise Refusal("body_not_an_object")
    return plain


def _raw(row: dict[str, Any], shared: dict[str, Any]) -> RawTouchpoint:
    members: dict[str, Any] = {name: row.get(sent) for name, sent in _MEMBERS}
    raw = RawTouchpoint(**members, unclean=True, too_deep=hygiene.depth(row) > hygiene.MAX_DEPTH)
    if shared and (raw.context is None or raw.context == [] or isinstance(raw.context, dict)):
        raw.context = {**shared, **(raw.context or {})}
    return raw


def _single(type_: str) -> Dialect:
    def parse(call: Call) -> Parsed:
        return parse_call(type_, call.body)

    return Dialect("segment", parse)


def _again(call: Call, shared: Any) -> Parsed:
    return parse_batch(b'{"batch":[%b],"context":%b}' % (call.body, json.dumps(shared).encode()))


_BATCHED: Final = Dialect("segment", lambda call: parse_batch(call.body), again=_again)
ROUTES: Final[dict[str, Dialect]] = {
    **{f"/v1/{name}": _single(type_) for name, type_ in CALLS.items()},
    **{f"/v1/{name}": _BATCHED for name in BATCHES},
    "/beacon/v1/batch": _BATCHED,
}
