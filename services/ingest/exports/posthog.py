"""PostHog: events of its batch exports (JSON lines), of its API, and of the CSV that its pages save. Pure.

Field names: https://posthog.com/docs/cdp/batch-exports/s3. What an event means is said where PostHog's SDKs are
understood: an event that was imported and one that came live have the same id.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.ingest.dialects.posthog_events import touchpoint
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import filled, first, instant, members, number, stable_id, with_traits

OWN_TRAITS: Final = ("$", "utm_")  # PostHog collects these by itself, with every event
_MEMBERS: Final = tuple(
    (field.name, field.encode_name) for field in msgspec.structs.fields(RawTouchpoint) if "<" not in field.encode_name
)


def holds(row: Row) -> bool:
    return "event" in row and "distinct_id" in row and "timestamp" in row


def calls(row: Row, reading: Reading) -> list[Call]:
    """The event, and before it what is known of the person, without what PostHog collects by itself."""
    sent = _inner(row, "properties.", reading)
    told = {
        "event": row.get("event"),
        "distinct_id": row.get("distinct_id"),
        "timestamp": instant(row.get("timestamp"), reading.zone),
        "uuid": first(row.get("uuid"), row.get("id"), sent.get("$insert_id")),
        "properties": sent,
    }
    raw = touchpoint(filled(told), unclean=False)
    call: Call = filled({name: getattr(raw, field) for field, name in _MEMBERS if field != "traits"})
    call.setdefault("messageId", stable_id("posthog", told))
    if raw.type == "group":
        return [filled({**call, "traits": raw.traits})]
    traits = {**_person(row, reading), **members(raw.traits)}
    return [filled({**call, "traits": traits})] if raw.type == "identify" else with_traits(call, traits)


def _person(row: Row, reading: Reading) -> Row:
    """What was known of the person, wherever this kind of export has it."""
    found = {
        **_inner(row, "person_properties.", reading),
        **_inner(row, "person.properties.", reading),
        **members(members(row.get("person")).get("properties")),
    }
    return {name: value for name, value in found.items() if not name.startswith(OWN_TRAITS)}


def _inner(row: Row, prefix: str, reading: Reading) -> Row:
    """An object that is one or is JSON text, or whose members are columns `properties.…`."""
    flat = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    return filled(
        {
            **members(row.get(prefix.removesuffix("."))),
            **{name: number(value) if reading.texts else value for name, value in flat.items()},
        }
    )


EXPORT: Final = Export("posthog", "PostHog (batch export, API or CSV)", holds, calls)
