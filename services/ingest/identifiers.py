"""Who a touchpoint is about: identifiers gathered, checked and normalised, placeholders dropped. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.hygiene import is_clean
from services.ingest.reasons import Rejection, rejection
from shared.identifiers import IdentityRules, normalise

MAX_BYTES: Final = 256
PLACEHOLDER: Final = "placeholder"
UNKNOWN_KIND: Final = "unknown_kind"
_SELDOM_CHANGED = frozenset(("user_id", "card", "device_id", "anonymous_id"))


def text_of(value: object, name: str) -> str | Rejection:
    """An identifier as text, as it was sent: text or a whole number; the rejection says which one is wrong."""
    if type(value) is str:
        return value if is_clean(value) else rejection("identifier_invalid", name)
    if type(value) is int and -(2**63) <= value < 2**64:
        return str(value)
    return rejection("identifier_invalid", name)


def is_short(text: str) -> bool:
    """Whether it has at most MAX_BYTES of UTF-8."""
    return len(text) <= MAX_BYTES // 4 or len(text.encode()) <= MAX_BYTES


def identifier(kind: str, value: object, rules: IdentityRules) -> str | Rejection | None:
    """One identifier as it is kept; None for a placeholder."""
    if type(value) is not str or not value.isascii() or "\0" in value:
        text = text_of(value, kind)
        if not isinstance(text, str):
            return text
        value = text
    kept = normalise(kind, value)
    if rules.is_placeholder(kept) or (kept is not value and rules.is_placeholder(value)):
        return None
    return kept if is_short(kept) else rejection("identifier_too_long", kind)


def gather(raw: RawTouchpoint, rules: IdentityRules, dropped: list[str]) -> dict[str, str] | Rejection:
    """The identifiers of a touchpoint by kind. What is dropped is noted in ``dropped`` (PLACEHOLDER, UNKNOWN_KIND)."""
    ids: dict[str, str] = {}
    for kind, value in _candidates(raw):
        if value is None or kind in ids:
            continue
        if kind not in rules.kinds:
            dropped.append(UNKNOWN_KIND)
            continue
        kept = identifier(kind, value, rules)
        if kept is None:
            dropped.append(PLACEHOLDER)
        elif isinstance(kept, str):
            ids[kind] = kept
        else:
            return kept
    return ids or rejection("identifier_missing")


def _candidates(raw: RawTouchpoint) -> Iterator[tuple[str, Any]]:
    """Where identifiers are looked for, in the order in which they win."""
    yield "user_id", raw.user_id
    yield "anonymous_id", raw.anonymous_id
    context = raw.context if type(raw.context) is dict else {}
    if "externalIds" in context:
        yield from _external(context["externalIds"])
    named = context.get("ids")
    if type(named) is dict:
        yield from named.items()
    if raw.type == "identify":
        for traits in (raw.traits, context.get("traits")):
            if type(traits) is dict:
                yield "email", traits.get("email")
                yield "phone", traits.get("phone")


def _external(given: Any) -> Iterator[tuple[str, Any]]:
    """Segment's `context.externalIds`: a list of `{id, type}`."""
    for entry in given if type(given) is list else ():
        if type(entry) is dict and type(entry.get("type")) is str:
            yield entry["type"], entry.get("id")
