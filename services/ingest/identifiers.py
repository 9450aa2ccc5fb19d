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
_AS_SENT: Final = frozenset(("user_id", "card", "device_id", "anonymous_id"))
UNKNOWN: Final = Rejection("", "")


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
    if (  # nothing to change and nothing to count: most identifiers are such
        type(value) is str
        and kind in _AS_SENT
        and 0 < len(value) <= MAX_BYTES
        and value.isascii()
        and value[0] not in "0-"
        and "\0" not in value
        and value.strip() == value
        and value.lower() not in rules.placeholders
    ):
        return value
    text = text_of(value, kind)
    if not isinstance(text, str):
        return text
    kept = normalise(kind, text)
    if rules.is_placeholder(text) or rules.is_placeholder(kept):
        return None
    return kept if is_short(kept) else rejection("identifier_too_long", kind)


def gather(raw: RawTouchpoint, rules: IdentityRules, dropped: list[str]) -> dict[str, str] | Rejection:
    """The identifiers of a touchpoint by kind. What is dropped is noted in ``dropped`` (PLACEHOLDER, UNKNOWN_KIND)."""
    ids: dict[str, str] = {}
    for kind, value in _candidates(raw):
        if value is None or kind in ids:
            continue
        kept = identifier(kind, value, rules) if kind in rules.kinds else UNKNOWN
        if isinstance(kept, str):
            ids[kind] = kept
        elif kept is None or kept is UNKNOWN:
            dropped.append(PLACEHOLDER if kept is None else UNKNOWN_KIND)
        else:
            return kept
    return ids if ids else rejection("identifier_missing")


def _candidates(raw: RawTouchpoint) -> list[tuple[str, Any]]:
    """Where identifiers are looked for, in the order in which they win."""
    found: list[tuple[str, Any]] = [("user_id", raw.user_id), ("anonymous_id", raw.anonymous_id)]
    context = raw.context
    if type(context) is dict:
        if "externalIds" in context:
            found += _external(context["externalIds"])
        if "ids" in context and type(context["ids"]) is dict:
            found += context["ids"].items()
    if raw.type == "identify":
        for traits in (raw.traits, context.get("traits") if type(context) is dict else None):
            if type(traits) is dict:
                found += [("email", traits.get("email")), ("phone", traits.get("phone"))]
    return found


def _external(given: Any) -> Iterator[tuple[str, Any]]:
    """Segment's `context.externalIds`: a list of `{id, type}`."""
    for entry in given if type(given) is list else ():
        if type(entry) is dict and type(entry.get("type")) is str:
            yield entry["type"], entry.get("id")
