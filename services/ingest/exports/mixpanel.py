"""Mixpanel: the raw event export, JSON lines of `{event, properties}`. Pure.

Field names: https://developer.mixpanel.com/reference/raw-event-export. Projects made before 2023 export the wall
clock of their own time zone as if it were UTC: there the zone of the reading has to be that of the project.
"""

from __future__ import annotations

from typing import Any, Final

from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import filled, first, members, page, since_epoch, stable_id

PAGE: Final = "$mp_web_page_view"
ALIAS: Final = "$create_alias"
APPS: Final = ("android", "iphone", "swift", "react-native", "flutter", "unity")  # values of `mp_lib`
DEVICE: Final = "$device:"  # stands before the id of a device in a `distinct_id`
TAKEN: Final = frozenset(
    ("time", "distinct_id", "$insert_id", "$user_id", "$device_id", "$identified_id", "$anon_id", "$distinct_ids",
     "$ip", "$current_url", "$referrer", "$os", "$os_version", "$browser", "$browser_version", "$city", "$region",
     "mp_country_code", "mp_lib", "$lib_version", "$model", "$manufacturer", "mp_processing_time_ms",
     "$mp_api_endpoint", "$mp_api_timestamp_ms", "mp_sent_by_lib_version")
)  # fmt: skip


def holds(row: Row) -> bool:
    properties = row.get("properties")
    return "event" in row and isinstance(properties, dict) and "distinct_id" in properties and "time" in properties


def calls(row: Row, reading: Reading) -> list[Call]:
    sent = members(row.get("properties"))
    event = row.get("event")
    call = {
        **_who(sent),
        **_kind(event, sent),
        "messageId": _id(event, sent),
        "timestamp": _time(sent.get("time"), reading),
        "properties": {} if event == ALIAS else {name: value for name, value in sent.items() if name not in TAKEN},
        "context": _context(sent),
    }
    return [filled(call)]


def _id(event: Any, sent: Row) -> str:
    """Mixpanel tells events apart by these four, so two events of one `$insert_id` may both be real. Without one, all
    that was sent counts."""
    given = sent.get("$insert_id")
    rest = {k: v for k, v in sent.items() if not k.startswith("mp_") and not k.startswith("$mp_")}
    return stable_id("mixpanel", event, sent.get("distinct_id"), sent.get("time"), rest if given is None else given)


def _who(sent: Row) -> Call:
    """`$user_id`, else the `distinct_id` unless it is that of the device."""
    device, distinct = sent.get("$device_id"), sent.get("distinct_id")
    if isinstance(distinct, str) and distinct.startswith(DEVICE):
        device, distinct = first(device, _bare(distinct)), None
    if distinct == device:
        distinct = None
    return {"userId": first(sent.get("$user_id"), distinct), "anonymousId": device}


def _bare(value: Any) -> Any:
    return value.removeprefix(DEVICE) if isinstance(value, str) else value


def _kind(event: Any, sent: Row) -> Call:
    """`$identify`, `$create_alias` and `$merge` are how Mixpanel writes down that two ids are one customer's."""
    if event == PAGE:
        return {"type": "page"}
    if event == "$identify":
        return {"type": "identify", "userId": first(sent.get("$identified_id"), _who(sent)["userId"]),
                "anonymousId": _bare(first(sent.get("$anon_id"), sent.get("$device_id")))}  # fmt: skip
    if event == ALIAS:
        return {"type": "alias", "userId": sent.get("alias"), "previousId": _bare(sent.get("distinct_id"))}
    if event == "$merge":
        both = sent.get("$distinct_ids")
        previous, user = map(_bare, both) if isinstance(both, list) and len(both) == 2 else (None, None)
        return {"type": "alias", "userId": user, "previousId": previous}
    return {"type": "track", "event": event}


def _time(value: Any, reading: Reading) -> Any:
    moment = since_epoch(value)
    return value if moment is None else moment.replace(tzinfo=reading.zone).isoformat()


def _context(sent: Row) -> Row:
    return filled(
        {
            "page": page(sent.get("$current_url"), referrer=_referrer(sent.get("$referrer"))),
            "channel": "app" if sent.get("mp_lib") in APPS else None,
            "os": filled({"name": sent.get("$os"), "version": sent.get("$os_version")}),
            "browser": filled({"browser": sent.get("$browser"), "browser_version": sent.get("$browser_version")}),
            "device": filled({"manufacturer": sent.get("$manufacturer"), "model": sent.get("$model")}),
            "ip": sent.get("$ip"),
            "location": filled({"country": sent.get("mp_country_code"), "region": sent.get("$region"),
                                "city": sent.get("$city")}),
            "library": filled({"name": sent.get("mp_lib"), "version": sent.get("$lib_version")}),
        }
    )  # fmt: skip


def _referrer(told: Any) -> Any:
    return None if told == "$direct" else told


EXPORT: Final = Export("mixpanel", "Mixpanel (raw event export)", holds, calls)
