"""CloudEvents 1.0 over HTTP: binary, structured and batched, told apart by the Content-Type. Pure."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from services.ingest import hygiene
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome, success
from services.ingest.dialects.raw import FreeObject, Parsed, RawTouchpoint
from services.ingest.dialects.segment import CALLS, from_rows
from services.ingest.errors import Refusal
from services.ingest.identifiers import is_short
from services.ingest.reasons import Rejection

Event = Mapping[str, Any]
REQUIRED: Final = ("id", "source", "type", "specversion")
IDENTIFIERS: Final = {"userId": "user_id", "anonymousId": "anonymous_id"}  # members of `data`
OBJECTS: Final = ("traits", "context")  # members of `data`, where they are objects
EXTENSIONS: Final = {"userid": "user_id", "anonymousid": "anonymous_id"}
DATA: Final = frozenset(("specversion", "data", "data_base64"))
BATCH: Final = "application/cloudevents-batch"
STRUCTURED: Final = "application/cloudevents"
_TYPES: Final = frozenset(CALLS.values())
_JSON = re.compile(r"(?:application|text)/(?:[^;+\s]+\+)?json\b", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_ESCAPED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OBJECT: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(FreeObject)
_ARRAY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(list.__class_getitem__(FreeObject))
_FAILURES: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(call: Call) -> Parsed:
    """One event or many. Raises Refusal for what is no CloudEvent; in a batch only that one is rejected."""
    content_type = call.headers.get(b"content-type", b"").decode("latin-1").strip()
    media = content_type.partition(";")[0].strip().lower()
    if media in (BATCH, f"{BATCH}+json"):
        return _batch(call)
    if media in (STRUCTURED, f"{STRUCTURED}+json"):
        return _structured(call)
    if media.startswith(STRUCTURED):
        raise Refusal("content_type_unknown", f"CloudEvents are understood in JSON, not as {media}")
    return _binary(call, content_type)


def _batch(call: Call) -> Parsed:
    events, clean = _read(call.body, _ARRAY)
    if not isinstance(events, list):
        raise Refusal("batch_missing", "a batch of CloudEvents is a JSON array")
    items = [_in_batch(event, clean) if isinstance(event, dict) else None for event in events]
    source = next((event["source"] for event in events if isinstance(event, dict) and event.get("source")), None)
    original = hygiene.originals(b'{"batch":%b}' % call.body, "batch")
    return Parsed(items, None, _token(call), original, app_id=source)


def _again(call: Call, _: object) -> Parsed:
    """Whatever it came in, an original is structured."""
    return _structured(call)


def _in_batch(event: Event, clean: bool) -> RawTouchpoint:
    if wrong := _wrong(event):
        return RawTouchpoint(type=Rejection("attribute_missing", wrong), message_id=event.get("id"), unclean=True)
    return _raw(event, *_data_of(event, clean))


def _structured(call: Call) -> Parsed:
    event, clean = _read(call.body, _OBJECT)
    if not isinstance(event, dict):
        raise Refusal("body_not_an_object")
    body = call.body
    return _single(call, event, *_data_of(event, clean), lambda _: body)


def _binary(call: Call, content_type: str) -> Parsed:
    event = {
        name[3:].decode("latin-1"): _attribute(value)
        for name, value in call.headers.items()
        if name.startswith(b"ce-")
    }  # fmt: skip
    if not event:
        raise Refusal(
            "content_type_unknown", "no Content-Type of CloudEvents and no ce- headers: this is no CloudEvent"
        )
    if content_type:
        event["datacontenttype"] = content_type
    data, clean = _data(call.body, content_type)
    clean = clean and all(map(hygiene.is_clean, event.values()))
    body = call.body
    return _single(call, event, data, clean, lambda _: _whole(event, body, data, clean))


def _whole(event: Event, body: bytes, data: Any, clean: bool) -> bytes:
    """A binary event as a structured one: what it says in its headers is part of what was sent."""
    told = {"data": data} if clean and not isinstance(data, bytes) else {"data_base64": b64encode(body).decode()}
    return msgspec.json.encode({**event, **told})


def _single(call: Call, event: Event, data: Any, clean: bool, original: Callable[[int], bytes]) -> Parsed:
    if wrong := _wrong(event):
        raise Refusal("attribute_missing", wrong)
    return Parsed([_raw(event, data, clean)], None, _token(call), original, app_id=event["source"])


def _token(call: Call) -> str | None:
    """The webhook specification lets a key be in the query."""
    return call.query.get("access_token")


def _wrong(event: Event) -> str:
    """A sentence about required attributes that are missing or wrong; empty if none is."""
    missing = [name for name in REQUIRED if type(event.get(name)) is not str or not event[name].strip()]
    if missing:
        return f"a CloudEvent needs {', '.join(missing)}"
    return "" if event["specversion"].startswith("1.") else "only CloudEvents of specversion 1.0 are understood"


def _read(body: bytes, decoder: msgspec.json.Decoder[Any]) -> tuple[Any, bool]:
    """JSON, and whether it is clean. Raises Refusal for what is none."""
    if hygiene.may_decode_fast(body):
        try:
            return decoder.decode(body), True
        except _FAILURES:
            pass
    return hygiene.read(body), False


def _data_of(event: Event, clean: bool) -> tuple[Any, bool]:
    """The data of an event in JSON."""
    encoded, media = event.get("data_base64"), event.get("datacontenttype")
    if encoded is None:
        return event.get("data"), clean
    try:
        data, clean_too = _data(b64decode(encoded, validate=True), media if isinstance(media, str) else "")
    except (TypeError, ValueError, Refusal):
        return encoded, clean
    return data, clean and clean_too


def _data(body: bytes, content_type: str) -> tuple[Any, bool]:
    """JSON unless the type says something else, else text, else bytes; and whether it is clean. Raises Refusal for
    what is said to be JSON and is none."""
    if not body:
        return None, True
    if not content_type or _JSON.match(content_type):
        try:
            return _read(body, _OBJECT)
        except Refusal:
            if content_type:
                raise
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body, True
    return text, hygiene.is_clean(text)


def _attribute(value: bytes) -> str:
    """The value of a header, percent-decoded once. Senders that do not percent-encode give themselves away: by bytes
    beyond ASCII (UTF-8, else Latin-1), by a `%` that begins no escape, by escapes that are no UTF-8."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    if quoted := _QUOTED.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    if "%" not in text or not text.isascii() or not _ESCAPED.fullmatch(text):
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return text


def _raw(event: Event, data: Any, clean: bool) -> RawTouchpoint:
    raw = _said(data, clean)
    raw.message_id = _identity(event["source"], event["id"])
    raw.timestamp = event.get("time", raw.timestamp)
    if raw.type == "track" and raw.event is None:
        raw.event = event["type"]
    _set_identifiers(raw, event)
    if raw.context is None or isinstance(raw.context, dict):
        attributes = {name: value for name, value in event.items() if name not in DATA}
        raw.context = {**(raw.context or {}), "cloudevents": attributes}
    if raw.unclean:
        levels = 1 + max(map(hygiene.depth, (raw.properties, raw.traits, raw.context)))
        raw.too_deep = levels > hygiene.MAX_DEPTH
    return raw


def _said(data: Any, clean: bool) -> RawTouchpoint:
    """A touchpoint of Segment's API where the data looks like one, else a track with the data as its properties."""
    if not isinstance(data, dict):
        return RawTouchpoint(type="track", properties=_properties(data), unclean=not clean)
    kind = data.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        [touchpoint] = from_rows([data])
        assert touchpoint is not None
        return touchpoint
    rest = dict(data)
    raw = RawTouchpoint(type="track", unclean=not clean)
    for name, ours in IDENTIFIERS.items():
        setattr(raw, ours, rest.pop(name, None))
    for name in OBJECTS:
        if isinstance(rest.get(name), dict):
            setattr(raw, name, rest.pop(name))
    inner = rest.pop("properties", {})
    raw.properties = {**rest, **inner} if isinstance(inner, dict) else data
    return raw


def _properties(data: Any) -> dict[str, Any]:
    """Data that is no object, as a property."""
    if data is None:
        return {}
    return {"data_base64": b64encode(data).decode()} if isinstance(data, bytes) else {"data": data}


def _set_identifiers(raw: RawTouchpoint, event: Event) -> None:
    """Extensions say who where the data does not; where nobody else does, the subject is the customer."""
    for name, ours in EXTENSIONS.items():
        if getattr(raw, ours) is None:
            setattr(raw, ours, event.get(name))
    context = raw.context if isinstance(raw.context, dict) else {}
    if all(found is None for found in (raw.user_id, raw.anonymous_id, context.get("ids"), context.get("externalIds"))):
        raw.user_id = event.get("subject")


def _identity(source: str, id_: str) -> str:
    """An event is one by its source and its id. A UUID is unique alone; a long source is told by its hash."""
    whole = f"{source}#{id_}"
    if _UUID.search(id_) or not hygiene.is_clean(whole):
        return id_
    return whole if is_short(whole) else f"{sha256(source.encode()).hexdigest()[:32]}#{id_}"


def accepted(outcome: Outcome) -> Answer:
    """The native answer with the status that webhooks have for what is taken and not yet worked on."""
    return Answer(success(outcome).body, status=202)


ROUTES: Final[dict[str, Dialect]] = {
    "/events": Dialect("cloudevents", parse, accepted, methods=frozenset(("POST", "PUT")), again=_again)
}
