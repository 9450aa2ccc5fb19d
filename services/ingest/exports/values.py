"""What exports have in common: times, numbers, ids that stay the same, and objects without holes. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from services.ingest.exports.export import Call, Row
from services.ingest.hygiene import MAX_DEPTH, depth
from services.ingest.times import Unreadable, read

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = {10: 10**6, 13: 10**3, 16: 1}  # digits of a time of this century -> microseconds of its unit
_SINCE_EPOCH = re.compile(r"(\d{10}|\d{13}|\d{16})(\.\d+)?")
_ZONE_APART = re.compile(r"\s+(Z|UTC|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
_WHO: Final = ("userId", "anonymousId")
_WHO_AND_WHEN: Final = (*_WHO, "timestamp")
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")


def instant(value: Any, zone: ZoneInfo) -> Any:
    """A time as ISO 8601 in UTC: text without a zone is in ``zone``; numbers of 10, 13 or 16 digits are seconds, milli-
    or microseconds since 1970. What is no time stays as it is, for the checks to refuse."""
    if (moment := since_epoch(value)) is not None:
        return moment.isoformat()
    if not isinstance(value, str):
        return value
    text = _ZONE_APART.sub(_joined, value.strip())
    try:
        plain = datetime.fromisoformat(text)
        moment = plain.replace(tzinfo=zone).astimezone(UTC) if plain.tzinfo is None else read(text)
        return moment.isoformat()
    except (ValueError, Unreadable, OverflowError):
        return value


def since_epoch(value: Any) -> datetime | None:
    """The time that a number of 10, 13 or 16 digits names; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _SINCE_EPOCH.fullmatch(str(value).strip())
    if found is None:
        return None
    unit = _MICROSECONDS[len(found[1])]
    return _EPOCH + timedelta(microseconds=int(found[1]) * unit + int(float(found[2] or 0) * unit))


def _joined(found: re.Match[str]) -> str:
    return "Z" if found[1].upper() in ("Z", "UTC") else found[1]


def number(value: Any) -> Any:
    """What reads like a number is one: CSV has only texts, and BigQuery writes whole numbers as text."""
    return json.loads(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def opened(value: Any) -> Any:
    """JSON within a text as what it says, if that is an object or a list that is not too deep; else the value."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        inner = json.loads(value)
        return value if depth(inner) > 2 * MAX_DEPTH else inner
    except (ValueError, RecursionError):
        return value


def members(value: Any) -> Row:
    """The members of an object that are there; none for anything that is no object."""
    value = opened(value)
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else {}


def rows(value: Any) -> list[Row]:
    """The objects in a list; none for anything that is no list."""
    value = opened(value)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def filled(document: Row) -> Row:
    """Without what is empty: nulls, blank texts, objects and lists without members."""
    return {k: v for k, v in document.items() if v is not None and v not in ("", {}, [])}


def first(*values: Any) -> Any:
    """The first that says something."""
    return next((value for value in values if value is not None and value != ""), None)


def stable_id(*parts: Any) -> str:
    """32 hex digits, the same for the same parts in every run."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def page(url: Any, **more: Any) -> Row:
    """`context.page` of a URL, with its path and query."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None:
        return filled({"url": url, **more})
    return filled({"url": url, "path": parts.path, "search": f"?{parts.query}" if parts.query else "", **more})


def with_traits(call: Call, traits: Row) -> list[Call]:
    """The call, and before it an identify that says what was known of the customer then; its id follows the call's."""
    if not traits:
        return [call]
    told = {name: call[name] for name in _WHO_AND_WHEN if name in call}
    return [
        told | {"type": "identify", "messageId": stable_id("traits", call.get("messageId")), "traits": traits},
        call,
    ]


def without_repeats(found: list[list[Call]]) -> list[list[Call]]:
    """The calls of some rows; what `with_traits` puts before one is left out where it says nothing new."""
    said: dict[str, Any] = {}
    kept = []
    for calls in found:
        told = calls[0] if calls and isinstance(calls[0], dict) and calls[0].get("type") == "identify" else None
        if told is None:
            kept.append(calls)
            continue
        who, traits = json.dumps([told.get(name) for name in _WHO]), told.get("traits")
        repeated = len(calls) > 1 and said.get(who) == traits
        said[who] = traits
        kept.append(calls[1:] if repeated else calls)
    return kept
