"""Snowplow's tracker protocol: `POST …/tp2` with many events, `GET /i` with one. Pure.

Trackers send an event again for ever unless they are answered 2xx, 400, 401, 403, 410 or 422, so `refuse` answers
nothing else where another try would end the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from services.ingest import hygiene
from services.ingest.body import MAX_BODY
from services.ingest.dialects.dialect import Answer, Call, Dialect, problem
from services.ingest.dialects.packed import decoded
from services.ingest.dialects.pixel import answer as image
from services.ingest.dialects.raw import FreeObject, Integer, Parsed, RawTouchpoint, Scalar
from services.ingest.errors import Refusal
from services.ingest.reasons import Rejection, rejection

Payload = Mapping[str, Any]
SMALLEST: Final = 256  # bytes of the smallest event that a tracker writes, so that 5 MiB are never too many events
_FOR_GOOD: Final = {404: 422, 405: 422, 413: 422, 415: 422}
_SIZE: Final = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

PAGE: Final = {"url": "url", "refr": "referrer", "page": "title"}
CONTEXT: Final = {"lang": "locale", "tz": "timezone", "ua": "userAgent", "ip": "ip"}
SCREEN: Final = {"res": ("width", "height"), "vp": ("innerWidth", "innerHeight")}
PING: Final = {"pp_mix": "min_x", "pp_max": "max_x", "pp_miy": "min_y", "pp_may": "max_y"}
STRUCTURED: Final = {"se_ca": "category", "se_la": "label", "se_pr": "property", "se_va": "value"}
TRANSACTION: Final = {
    "tr_id": "order_id", "tr_af": "affiliation", "tr_tt": "total", "tr_tx": "tax", "tr_sh": "shipping",
    "tr_ci": "city", "tr_st": "state", "tr_co": "country", "tr_cu": "currency",
}  # fmt: skip
ITEM: Final = {
    "ti_id": "order_id", "ti_sk": "sku", "ti_nm": "name", "ti_ca": "category", "ti_pr": "price", "ti_qu": "quantity",
    "ti_cu": "currency",
}  # fmt: skip
NUMBERS: Final = frozenset((*PING, "se_va", "tr_tt", "tr_tx", "tr_sh", "ti_pr", "ti_qu"))
EVENT: Final = ("ue_px", "ue_pr")
ENTITIES: Final = ("cx", "co")
USER: Final = ("uid", "duid", "nuid", "tnuid")
FROM_THE_NETWORK: Final = ("ip", "nuid", "tnuid")  # not used for who asks to be anonymous (`SP-Anonymous`)
PLACED: Final = frozenset(
    ("e", "eid", "dtm", "stm", "ttm", "tv", "se_ac", *USER, *EVENT, *ENTITIES, *PAGE, *CONTEXT, *SCREEN,
     *PING, *STRUCTURED, *TRANSACTION, *ITEM)
)  # fmt: skip


class _Payloads(msgspec.Struct, gc=False):
    """The body of a tp2 request whose values are clean."""

    data: list[dict[str, Scalar]]


_ENCODE: Final = msgspec.json.Encoder().encode
_PAYLOADS: Final = msgspec.json.Decoder(_Payloads)
_DOCUMENT: Final = msgspec.json.Decoder(FreeObject)
_NUMBER: Final[msgspec.json.Decoder[int | float]] = msgspec.json.Decoder(Integer | float)
_FAILURES: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse_post(call: Call) -> Parsed:
    """Many events. Raises Refusal for a body that is no object with a list `data`."""
    return _many(call, call.body)


def _many(call: Call, body: bytes) -> Parsed:
    rows, clean = _rows(body)
    anonymous, agent = _is_anonymous(call), _user_agent(call)
    items = [_raw(row, clean, anonymous, agent) if isinstance(row, dict) else None for row in rows]
    return Parsed(items, None, None, hygiene.originals(body, "data"), app_id=_app_id(rows))


def parse_get(call: Call) -> Parsed:
    """One event, as a query; kept like a member of `data` if it is rejected."""
    row = {name: value for name, value in call.query.items() if name != "writeKey"}
    raw = _raw(row, False, _is_anonymous(call), _user_agent(call))
    return Parsed([raw], None, None, lambda _: _ENCODE(row), app_id=_app_id([row]))


def _rows(body: bytes) -> tuple[list[Any], bool]:
    """The payloads, and whether they are clean."""
    if hygiene.may_decode_fast(body):
        try:
            return list[Any](_PAYLOADS.decode(body).data), True
        except _FAILURES:
            pass
    plain = hygiene.read(body)
    if not isinstance(plain, dict):
        raise Refusal("body_not_an_object")
    rows = plain.get("data")
    if not isinstance(rows, list):
        raise Refusal("batch_missing", "the body needs a list `data`")
    return rows, False


def _is_anonymous(call: Call) -> bool:
    return b"sp-anonymous" in call.headers


def _user_agent(call: Call) -> str | None:
    agent = call.headers.get(b"user-agent")
    return agent.decode("latin-1") if agent is not None else None


def _app_id(rows: list[Any]) -> object:
    """The `aid` of the first event that has one."""
    return next((row["aid"] for row in rows if isinstance(row, dict) and row.get("aid")), None)


def _raw(row: Payload, clean: bool, anonymous: bool, agent: str | None) -> RawTouchpoint:
    """One event as a raw touchpoint. ``agent`` is the request's, which is the customer's where a browser asks."""
    sent = {name: value for name, value in row.items() if name not in FROM_THE_NETWORK} if anonymous else row
    raw = RawTouchpoint(
        message_id=sent.get("eid"), user_id=sent.get("uid"), anonymous_id=sent.get("duid"), unclean=not clean
    )
    _set_times(raw, sent)
    raw.context = context = _context(sent, agent)
    _add_entities(raw, context, sent)
    if not (raw.user_id or raw.anonymous_id or "ids" in context):
        raw.anonymous_id = sent.get("sid")  # anonymous tracking with sessions: a journey of one session
    _set_interaction(raw, context, sent)
    if raw.unclean:
        raw.too_deep = 1 + max(hygiene.depth(raw.properties), hygiene.depth(context)) > hygiene.MAX_DEPTH
    return raw


def _set_times(raw: RawTouchpoint, sent: Payload) -> None:
    """`ttm` is said to be true, so no clock corrects it."""
    true_time = sent.get("ttm")
    if true_time:
        raw.timestamp = _time(true_time)
    else:
        raw.timestamp, raw.sent_at = _time(sent.get("dtm")), _time(sent.get("stm"))


def _time(milliseconds: Any) -> object:
    """ISO 8601 from milliseconds since 1970; what is none as it is."""
    try:
        return (_EPOCH + timedelta(milliseconds=int(milliseconds))).isoformat()
    except (TypeError, ValueError, OverflowError):
        return milliseconds


def _context(sent: Payload, agent: str | None) -> dict[str, Any]:
    """Names as in Segment's context; what has no name there under `snowplow`."""
    context: dict[str, Any] = {ours: sent[name] for name, ours in CONTEXT.items() if name in sent}
    if agent is not None and sent.get("p") == "web":
        context.setdefault("userAgent", agent)
    if page := {ours: sent[name] for name, ours in PAGE.items() if name in sent}:
        context["page"] = {**page, **_address(sent.get("url"))}
        if sent.get("p") == "web":
            context["page"].setdefault("referrer", "")  # trackers leave out what is empty
    if screen := _screen(sent):
        context["screen"] = screen
    if type(tracker := sent.get("tv")) is str:
        name, _, version = tracker.partition("-")
        context["library"] = {"name": f"snowplow-{name}", "version": version}
    if device := sent.get("tnuid") or sent.get("nuid"):
        context["ids"] = {"device_id": device}
    if rest := {name: value for name, value in sent.items() if name not in PLACED}:
        context["snowplow"] = rest
    return context


def _address(url: Any) -> dict[str, str]:
    if type(url) is not str:
        return {}
    try:
        parts = urlsplit(url)
    except ValueError:
        return {}
    return {"path": parts.path or "/", "search": f"?{parts.query}" if parts.query else ""}


def _screen(sent: Payload) -> dict[str, int]:
    screen: dict[str, int] = {}
    for name, sides in SCREEN.items():
        text = sent.get(name)
        screen.update(zip(sides, _size(text) if type(text) is str else (), strict=False))
    return screen


@lru_cache(maxsize=1024)
def _size(text: str) -> tuple[int, ...]:
    """`1920x1080`; nothing for what is no size."""
    found = _SIZE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else ()


def _add_entities(raw: RawTouchpoint, context: dict[str, Any], sent: Payload) -> None:
    """The contexts by the names of their schemas; a list where there are several of a name. As they were sent if they
    cannot be read. A mobile session has the device's id."""
    found = _document(raw, sent, ENTITIES)
    if found is None:
        return
    try:
        named: dict[str, list[Any]] = {}
        for entity in found["data"]:
            named.setdefault(_schema_name(entity["schema"]), []).append(entity["data"])
    except (TypeError, KeyError, ValueError):
        context["contexts"] = found
        return
    context["contexts"] = entities = {name: of[0] if len(of) == 1 else of for name, of in named.items()}
    session = entities.get("client_session")
    device = session.get("userId") if isinstance(session, dict) else None
    if not raw.anonymous_id and type(device) is str and device.strip("0-"):
        context["ids"] = {"device_id": device}


def _document(raw: RawTouchpoint, sent: Payload, names: tuple[str, str]) -> Any:
    """The JSON document under one of these names, plain or as base64url, padded or not; as sent if it is none."""
    given = sent.get(names[0]) or sent.get(names[1])
    if type(given) is not str:
        return given
    try:
        body = _bytes(given)
        if hygiene.may_decode_fast(body):
            try:
                return _DOCUMENT.decode(body)
            except _FAILURES:
                pass
        document = hygiene.read(body)
    except Refusal:
        return given
    raw.unclean = True
    return document


def _bytes(given: str) -> bytes:
    """Raises Refusal for what is neither JSON nor base64."""
    plain = given.encode("utf-8", "surrogatepass")
    return plain if plain.lstrip().startswith(b"{") else decoded(plain)


def _schema_name(schema: Any) -> str:
    """`iglu:vendor/name/format/version`. Raises ValueError for a schema without a name."""
    if type(schema) is not str or not schema.strip():
        raise ValueError("a schema has a name")
    parts = schema.removeprefix("iglu:").split("/")
    return parts[1] if len(parts) == 4 else schema


def _set_interaction(raw: RawTouchpoint, context: dict[str, Any], sent: Payload) -> None:
    """What happened: type, name and properties."""
    raw.type = "track"
    match sent.get("e"):
        case "pv":
            raw.type, raw.name = "page", sent.get("page")
        case "pp":
            raw.event, raw.properties = "Page Ping", _named(sent, PING)
        case "se":
            raw.event, raw.properties = sent.get("se_ac"), _named(sent, STRUCTURED)
        case "tr":
            raw.event, raw.properties = "Transaction", _named(sent, TRANSACTION)
        case "ti":
            raw.event, raw.properties = "Transaction Item", _named(sent, ITEM)
        case "ue":
            _set_self_described(raw, context, sent)
        case _:
            raw.type = rejection("type_unknown", "`e` is one of pv, pp, se, ue, tr, ti")


def _named(sent: Payload, names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: _value(name, sent[name]) for name, ours in names.items() if name in sent}


def _value(name: str, value: Any) -> Any:
    """Numbers come as text."""
    if name not in NUMBERS or type(value) is not str:
        return value
    try:
        return _NUMBER.decode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return value


def _set_self_described(raw: RawTouchpoint, context: dict[str, Any], sent: Payload) -> None:
    document = _document(raw, sent, EVENT)
    try:
        schema, data = document["data"]["schema"], document["data"].get("data")
        raw.event = _schema_name(schema)
    except (TypeError, KeyError, ValueError, AttributeError):
        raw.type = Rejection("event_missing", "the self-describing event cannot be read, or names no schema")
        return
    raw.properties = data
    context.setdefault("snowplow", {})["schema"] = schema
    if raw.event == "screen_view" and isinstance(data, dict):
        raw.type, raw.event, raw.name = "screen", None, data.get("name")


def _again(call: Call, _: object) -> Parsed:
    return _many(call, b'{"data":[%b]}' % call.body)


def refuse(refusal: Refusal) -> Answer:
    """With a status that makes a tracker give up where trying again would not help, and try again where it would."""
    return problem(refusal, _FOR_GOOD.get(refusal.status, refusal.status))


_MANY: Final = Dialect("snowplow", parse_post, refuse=refuse, max_touchpoints=MAX_BODY // SMALLEST, again=_again)
_ONE: Final = Dialect("snowplow", parse_get, image, refuse, methods=frozenset(("GET",)), again=_again)
ROUTES: Final[dict[str, Dialect]] = {"/com.snowplowanalytics.snowplow/tp2": _MANY, "/i": _ONE}
