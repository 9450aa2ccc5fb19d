"""Segment and RudderStack: archived calls as JSON lines, and rows of their warehouse tables. Pure.

Column names: https://segment.com/docs/connections/storage/warehouses/schema/. A warehouse row does not say which table
it is from; `_kind` tells by its columns, or by a column `type` that the query adds.
"""

from __future__ import annotations

from typing import Any, Final

from services.ingest.accept import TYPES
from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import filled, first, instant, number, opened

CALL: Final = frozenset(
    ("type", "event", "name", "messageId", "timestamp", "originalTimestamp", "userId", "anonymousId", "previousId",
     "groupId", "properties", "traits", "context")
)  # fmt: skip
NOT_KEPT: Final = frozenset(
    ("integrations", "receivedAt", "sentAt", "version", "channel", "writeKey", "projectId", "_metadata", "metadata",
     "sourceId", "rudderId", "request_ip", "category")
)  # fmt: skip
COLUMNS: Final = {
    "id": "messageId", "user_id": "userId", "anonymous_id": "anonymousId", "previous_id": "previousId",
    "group_id": "groupId", "timestamp": "timestamp", "original_timestamp": "originalTimestamp", "type": "type",
}  # fmt: skip
NO_COLUMNS: Final = frozenset(
    ("received_at", "sent_at", "uuid", "uuid_ts", "event", "event_text", "loaded_at", "channel")
)
PARTS: Final = (
    "page", "campaign", "device", "library", "app", "os", "screen", "network", "location", "referrer", "traits",
)  # fmt: skip
_CAMEL: Final = {"user_agent": "userAgent", "request_ip": "ip"}


def holds(row: Row) -> bool:
    row = _lower(row)
    return _is_call(row) or ("id" in row and "received_at" in row and ("anonymous_id" in row or "user_id" in row))


def calls(row: Row, reading: Reading) -> list[Call]:
    return [_of_call(row) if _is_call(row) else _of_columns(row, reading)]


def _lower(row: Row) -> Row:
    """Snowflake writes the names of columns in capitals."""
    return {name.lower(): value for name, value in row.items()} if "RECEIVED_AT" in row else row


def _is_call(row: Row) -> bool:
    typed = isinstance(row.get("type"), str) and row["type"] in TYPES
    return typed and not row.keys().isdisjoint(("messageId", "anonymousId", "userId"))


def _of_call(row: Row) -> Call:
    """An archived call; members that are none of the API's become properties."""
    call = {name: value for name, value in row.items() if name in CALL}
    more = {name: value for name, value in row.items() if name not in CALL and name not in NOT_KEPT}
    properties = call.get("properties")
    if more and (properties is None or isinstance(properties, dict)):
        call["properties"] = {**(properties or {}), **more}
    return call


def _of_columns(row: Row, reading: Reading) -> Call:
    row = filled(_lower(row))
    call: Call = {COLUMNS[name]: value for name, value in row.items() if name in COLUMNS}
    call.update(_kind(row))
    for name in ("timestamp", "originalTimestamp"):
        if name in call:
            call[name] = instant(call[name], reading.zone)
    context: Row = {}
    rest: Row = {}
    for name, value in row.items():
        if name.startswith("context_"):
            _put(context, name.removeprefix("context_"), value)
        elif name not in COLUMNS and name not in NO_COLUMNS:
            rest[name] = number(opened(value)) if reading.texts else opened(value)
    kept = "traits" if call["type"] in ("identify", "group") else "properties"
    if call["type"] in ("page", "screen"):
        call["name"] = rest.pop("name", None)
    return filled({**call, kept: rest, "context": context})


def _kind(row: Row) -> Call:
    if isinstance(row.get("type"), str) and row["type"] in TYPES:
        return {"event": first(row.get("event_text"), row.get("event"))} if row["type"] == "track" else {}
    if event := first(row.get("event_text"), row.get("event")):
        return {"type": "track", "event": event}
    for column, type_ in (("previous_id", "alias"), ("group_id", "group"), ("url", "page"), ("path", "page")):
        if column in row:
            return {"type": type_}
    return {"type": "identify"}


def _put(context: Row, name: str, value: Any) -> None:
    """`page_url` is `page.url`; what belongs to no part of a context stays beside the parts."""
    part, _, member = name.partition("_")
    inner = context.setdefault(part, {}) if part in PARTS and member else context
    if isinstance(inner, dict):
        inner[member if inner is not context else _CAMEL.get(name, name)] = opened(value)


EXPORT: Final = Export("segment", "Segment or RudderStack (archive or warehouse rows)", holds, calls)
