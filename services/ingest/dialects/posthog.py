"""PostHog's capture API, as its SDKs speak it: the old one (v0), which takes nearly anything, and the new one (v1).

Its browser SDK never sends again what was answered with 429, so whoever is over a rate is told that we are away (503);
all of its SDKs wait and come back then. Success is exactly 200. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from services.ingest import hygiene
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome, problem, told
from services.ingest.dialects.packed import decoded, unpacked
from services.ingest.dialects.posthog_events import Row, touchpoint
from services.ingest.dialects.raw import FreeObject, Parsed
from services.ingest.errors import Refusal

_ENCODE: Final = msgspec.json.Encoder().encode
_CLEAN: Final = msgspec.json.Decoder(FreeObject | list[FreeObject])
_FAILURES: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_EARLIEST, _LATEST = 946_684_800_000, 4_102_444_800_000  # milliseconds: the years 2000 and 2100
_KEYS: Final = ("api_key", "token", "$token")


def parse_v0(call: Call) -> Parsed:
    """One event, a list of events, or an envelope with a `batch`. Raises Refusal for what cannot be read."""
    if call.query.get("compression") == "lz64":
        raise Refusal("encoding_unknown", "lz64 is not read here; send gzip-js, base64 or plain JSON")
    given = call.query.get("data", "").encode() if call.method == "GET" else b""
    body = _given(given) if given else unpacked(call.body)
    content, unclean = _read(body)
    rows, original = _rows(content, body)
    envelope = content if isinstance(content, dict) else {}
    inside = envelope.get("sent_at") if "batch" in envelope else None
    sent_at = _moment(_first(inside, call.query.get("sent_at"), call.query.get("_")))
    return Parsed(
        [touchpoint(row, unclean=unclean, sent_at=sent_at) if isinstance(row, dict) else None for row in rows],
        sent_at,
        _first(_key(envelope), *(_key(row) for row in rows[:1]), *(call.query.get(name) for name in _KEYS)),
        original,
    )


def parse_v1(call: Call) -> Parsed:
    """An envelope with a `batch`; each event is answered by its `uuid`."""
    return _v1(call, call.body)


def _v1(call: Call, body: bytes) -> Parsed:
    content, unclean = _read(body)
    if not isinstance(content, dict) or not isinstance(content.get("batch"), list):
        raise Refusal("batch_missing")
    rows, original = _rows(content, body)
    library = call.headers.get(b"posthog-sdk-info", b"").decode("latin-1")
    return Parsed(
        [touchpoint(row, library=library, unclean=unclean) if isinstance(row, dict) else None for row in rows],
        call.headers.get(b"posthog-request-timestamp", b"").decode("latin-1"),
        _key(content),
        original,
        ids=tuple(_uuid(row) for row in rows),
    )


def _given(data: bytes) -> bytes:
    return data if data.lstrip().startswith((b"{", b"[")) else decoded(data)


def _read(body: bytes) -> tuple[Any, bool]:
    """The JSON, and whether it has to be cleaned before it is kept."""
    if hygiene.may_decode_fast(body):
        try:
            return _CLEAN.decode(body), False
        except _FAILURES:
            pass
    return hygiene.read(body), True


def _rows(content: Any, body: bytes) -> tuple[list[Any], Callable[[int], bytes]]:
    """The events, and how their bytes are found."""
    if isinstance(content, list):
        return content, _originals(body, b'{"batch":%b}')
    if not isinstance(content, dict):
        raise Refusal("body_not_an_object", "the body must be an event, a list of events, or an object with a `batch`")
    if "batch" not in content:
        return [content], lambda _: body
    if not isinstance(content["batch"], list):
        raise Refusal("batch_missing")
    return content["batch"], _originals(body, b"%b")


def _originals(body: bytes, envelope: bytes) -> Callable[[int], bytes]:
    """Splits the body when the first original is asked for."""
    found: list[bytes] = []

    def original(index: int) -> bytes:
        found.extend([] if found else hygiene.members(envelope % body, "batch"))
        return found[index] if index < len(found) else body

    return original


def _key(holder: Any) -> Any:
    """Where PostHog's SDKs put the key: in the envelope, in the event, or in its properties."""
    if not isinstance(holder, dict):
        return None
    properties = holder.get("properties")
    nested = properties if isinstance(properties, dict) else {}
    return _first(*(holder.get(name) for name in _KEYS), *(nested.get(name) for name in _KEYS))


def _uuid(row: Any) -> str:
    given = row.get("uuid") if isinstance(row, dict) else None
    return given if isinstance(given, str) and hygiene.is_clean(given) else ""


def _moment(sent_at: Any) -> Any:
    """Milliseconds since 1970 as a time, nothing for what can be none; anything else as it is."""
    if isinstance(sent_at, str) and not _DIGITS.fullmatch(sent_at):
        return sent_at
    if isinstance(sent_at, str | int) and _EARLIEST < int(sent_at) < _LATEST:
        return datetime.fromtimestamp(int(sent_at) / 1000, UTC).isoformat()
    return None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _v1_again(call: Call, _: object) -> Parsed:
    return _v1(call, b'{"batch":[%b]}' % call.body)


def answer_v0(outcome: Outcome) -> Answer:
    return Answer(_ENCODE({"status": "Ok", **told(outcome)}))


def answer_v1(outcome: Outcome) -> Answer:
    """Each event by its uuid: `ok`, or `drop` with the reason. Nothing is ever to be sent again on its own."""
    results: dict[str, Row] = {uuid: {"result": "ok"} for uuid in outcome.ids if uuid}
    for index, wrong in outcome.rejected:
        if uuid := outcome.ids[index]:
            results[uuid] = {"result": "drop", "details": f"{wrong.reason}: {wrong.message}"}
    return Answer(_ENCODE({"results": results, **told(outcome)}))


def refuse(refusal: Refusal) -> Answer:
    """Over a rate: 503, since 429 makes the browser SDK, and v1 of all, forget what it has."""
    refused = problem(refusal)
    if refusal.code != "rate_exceeded":
        return refused
    return Answer(_ENCODE({**refusal.problem(), "status": 503}), refused.content_type, 503, refused.headers)


_V0: Final = Dialect("posthog", parse_v0, answer_v0, refuse, frozenset(("GET", "POST")))
_V1: Final = Dialect("posthog", parse_v1, answer_v1, refuse, again=_v1_again)
ROUTES: Final[dict[str, Dialect]] = {
    **dict.fromkeys(("/batch", "/e", "/i/v0/e", "/capture", "/track", "/engage"), _V0),
    "/i/v1/analytics/events": _V1,
}
