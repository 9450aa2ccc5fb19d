"""Webhooks of any product: a body, read through the mapping of its source, becomes raw touchpoints. Pure.

With a signature, the signature is the key; without one the source's write key has to come in one of the usual places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl

from services.ingest import hygiene
from services.ingest.dialects.dialect import Answer, Call, Dialect, Outcome, success
from services.ingest.dialects.expressions import Surroundings, Value, holds, take
from services.ingest.dialects.mapping import Mapping, Rule
from services.ingest.dialects.raw import Parsed, RawTouchpoint
from services.ingest.errors import Refusal
from services.ingest.reasons import rejection
from services.ingest.signatures import Signature, check
from services.ingest.sources import key_of
from shared.keys import Source, hashed

PATH: Final = "/v1/hooks/"
_FORM: Final = b"application/x-www-form-urlencoded"
_DIGITS: Final = re.compile(r"\d{9,17}(?:\.\d+)?")  # fewer digits are a date: 20261123
_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))  # below this, so many microseconds each
_FORMATS: Final = (
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y-%m-%d %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S %Z",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OWN: Final = {"user_id": "user_id", "anonymous_id": "anonymous_id"}  # kinds with a member of their own


def hook(source: Source, mapping: Mapping, signature: Signature | None, clock: Callable[[], datetime]) -> Dialect:
    """The dialect that one source's webhooks speak; ``clock`` tells the time of day, for signatures that grow old."""
    keys = {key: source.ends.get(key) for key in source.keys}

    def parse(call: Call) -> Parsed:
        if signature is not None:
            _must_be_signed(signature, call, clock())
        else:
            _must_have_a_key(keys, call, clock())
        return parsed(mapping, call, source.name)

    def answer(outcome: Outcome) -> Answer:
        reply = mapping.answer
        return Answer(reply.body.encode(), reply.type) if reply is not None else success(outcome)

    one = mapping.model_copy(update={"each": None})
    return Dialect("hook", parse, answer, again=lambda call, _: parsed(one, call, source.name))


def parsed(mapping: Mapping, call: Call, source: str) -> Parsed:
    """The touchpoints of a body. Raises Refusal for a body that is neither JSON nor a form."""
    body = read(call.body, call.headers.get(b"content-type", b""))
    around = Surroundings(call.headers, call.query, body)
    named = sha256(call.body).hexdigest()[:32]
    items: list[RawTouchpoint | None] = []
    places: list[Any] = []
    for index, item in enumerate(_items(mapping, body, around)):
        raw = _raw(mapping, item, around, f"{named}-{index}") if isinstance(item, dict) else None
        if raw is not _SKIPPED:
            items.append(raw)
            places.append(item)

    def original(index: int) -> bytes:
        return call.body if places[index] is body else json.dumps(places[index], default=lambda _: None).encode()

    return Parsed(items, None, None, original, source=source)


def read(body: bytes, content_type: bytes) -> Any:
    """A body as plain values: JSON, or the fields of a form. Raises Refusal."""
    is_form = content_type.lower().startswith(_FORM) and not body.lstrip().startswith((b"{", b"["))
    if not is_form:
        return hygiene.read(body)
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _must_be_signed(signature: Signature, call: Call, now: datetime) -> None:
    wrong = check(signature, call, now)
    if wrong is not None:
        raise Refusal("signature_invalid", wrong)


def _must_have_a_key(ends: dict[str, datetime | None], call: Call, now: datetime) -> None:
    key = key_of(call.headers, call.query, None)
    if key is None:
        raise Refusal("key_missing")
    if (found := hashed(key)) not in ends:
        raise Refusal("key_unknown", "this is not the write key of the source that the path names")
    if (end := ends[found]) is not None and now >= end:
        raise Refusal("key_ended")


def _items(mapping: Mapping, body: Any, around: Surroundings) -> list[Any]:
    """What ``each`` gives; where it gives nothing, the body itself, which then is unmapped or not."""
    found = body
    if mapping.each is not None and hygiene.depth(body) <= hygiene.MAX_DEPTH:
        given = take(mapping.each, body, around)
        found = body if given is None else given
    return found if isinstance(found, list) else [found]


_SKIPPED: Final = RawTouchpoint()


def _raw(mapping: Mapping, item: dict[str, Any], around: Surroundings, named: str) -> RawTouchpoint:
    if hygiene.depth(item) > hygiene.MAX_DEPTH:
        return RawTouchpoint(type="track", message_id=named, unclean=True, too_deep=True)
    rule = next((one for one in mapping.rules if one.when is None or holds(one.when, item, around)), None)
    if rule is None:
        return RawTouchpoint(type=rejection("unmapped"), message_id=named)
    return _SKIPPED if rule.skip else _touchpoint(rule, item, around, named)


def _touchpoint(rule: Rule, item: dict[str, Any], around: Surroundings, named: str) -> RawTouchpoint:
    def of(value: Value | None) -> Any:
        return take(value, item, around) if value is not None else None

    name = of(rule.event)
    ids = {kind: value for kind, value in _object(rule.ids, of).items() if value is not False}
    context = _object(rule.context, of)
    told = {"channel": of(rule.channel), "acquisition": of(rule.acquisition)}
    below = {kind: value for kind, value in ids.items() if kind not in _OWN}
    if isinstance(context, dict):
        context = {**context, **{key: value for key, value in told.items() if value is not None}}
        context |= {"ids": below} if below else {}
    properties, traits = _object(rule.properties, of), _object(rule.traits, of)
    return RawTouchpoint(
        type=of(rule.type),
        event=name,
        name=name,
        message_id=_or(of(rule.id), named),
        user_id=ids.get("user_id"),
        anonymous_id=ids.get("anonymous_id"),
        previous_id=of(rule.previous),
        group_id=of(rule.group),
        timestamp=moment(of(rule.time)),
        properties=properties,
        traits=traits,
        context=context,
        unclean=True,
        too_deep=1 + max(map(hygiene.depth, (properties, traits, context))) > hygiene.MAX_DEPTH,
    )


def _object(members: dict[str, Value] | Value, of: Callable[[Value], Any]) -> Any:
    """An object without what is null."""
    if not isinstance(members, dict):
        return of(members)
    taken = {name: of(value) for name, value in members.items()}
    return {name: value for name, value in taken.items() if value is not None}


def _or(found: Any, otherwise: str) -> Any:
    return otherwise if found is None or found is False or found == "" else found


def moment(given: Any) -> Any:
    """A time as ISO 8601, where it is a number (seconds, milliseconds or microseconds since 1970, by its size) or text
    in another usual form; what is none of these stays as it is, to be rejected."""
    if isinstance(given, str):
        return _of_number(float(given)) if _DIGITS.fullmatch(given) else _of_text(given)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return _of_number(given)
    return given


def _of_number(number: float) -> Any:
    for limit, microseconds in _UNITS:
        if 0 <= number < limit:
            return (_EPOCH + timedelta(microseconds=round(number * microseconds))).isoformat()
    return str(number)


def _of_text(text: str) -> str:
    for form in _FORMATS if " " in text else ():
        try:
            return datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
    return text
