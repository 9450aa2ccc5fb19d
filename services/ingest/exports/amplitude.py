"""Amplitude: the Export API's archive of JSON lines. Pure.

Field names: https://amplitude.com/docs/apis/analytics/export. Times are UTC.
"""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import filled, first, instant, members, page, stable_id, with_traits

OWN: Final = "[Amplitude] "
PAGE: Final = f"{OWN}Page Viewed"
SCREEN: Final = f"{OWN}Screen Viewed"
IDENTIFY: Final = "$identify"
UTC: Final = ZoneInfo("UTC")


def holds(row: Row) -> bool:
    return "event_type" in row and "event_time" in row and not row.keys().isdisjoint(("device_id", "amplitude_id"))


def calls(row: Row, _: Reading) -> list[Call]:
    """The event, and before it what `user_properties` says."""
    sent, traits = members(row.get("event_properties")), members(row.get("user_properties"))
    event = row.get("event_type")
    call = filled(
        {
            **_kind(event, sent),
            "messageId": _id(row),
            "timestamp": instant(first(row.get("event_time"), row.get("client_event_time")), UTC),
            "userId": row.get("user_id"),
            "anonymousId": row.get("device_id"),
            "properties": filled({**sent, "revenue": first(sent.get("revenue"), sent.get("$revenue"))}),
            "context": _context(row, sent),
        }
    )
    return [filled({**call, "traits": traits})] if event == IDENTIFY else with_traits(call, traits)


def _kind(event: Any, sent: Row) -> Call:
    if event == PAGE:
        return {"type": "page"}
    if event == SCREEN:
        return {"type": "screen", "name": sent.get(f"{OWN}Screen Name")}
    return {"type": "identify"} if event == IDENTIFY else {"type": "track", "event": event}


def _id(row: Row) -> Any:
    """`uuid` is there in every export of today and never twice; older ones have only what the client gave."""
    given = first(row.get("uuid"), row.get("$insert_id"))
    if given is not None:
        return given
    what = ("amplitude_id", "user_id", "device_id", "session_id", "event_id", "event_type", "event_time",
            "event_properties")  # fmt: skip
    return stable_id("amplitude", [row.get(name) for name in what])


def _context(row: Row, sent: Row) -> Row:
    platform = row.get("platform")
    return filled(
        {
            "page": page(
                sent.get(f"{OWN}Page URL"),
                title=sent.get(f"{OWN}Page Title"),
                referrer=first(sent.get("referrer"), sent.get(f"{OWN}Referrer")),
            ),
            "channel": "app" if platform in ("iOS", "Android") else None,
            "os": filled({"name": row.get("os_name"), "version": row.get("os_version")}),
            "device": filled({"type": row.get("device_type"), "manufacturer": row.get("device_manufacturer"),
                              "model": row.get("device_model")}),
            "locale": row.get("language"),
            "location": filled({name: row.get(name) for name in ("country", "region", "city")}),
            "ip": row.get("ip_address"),
            "app": filled({"version": row.get("version_name")}),
            "library": filled({"name": row.get("library")}),
            "amplitude": filled({"session_id": row.get("session_id"), "platform": platform,
                                 "groups": members(row.get("groups"))}),
        }
    )  # fmt: skip


EXPORT: Final = Export("amplitude", "Amplitude (Export API)", holds, calls)
