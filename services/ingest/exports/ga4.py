"""Google Analytics 4: rows of its BigQuery export, as JSON lines. Pure.

Field names: https://support.google.com/analytics/answer/7029846. Rows have no id of their own: `_id` says what it is.
"""

from __future__ import annotations

from typing import Any, Final

from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import filled, first, instant, members, number, page, rows, stable_id, with_traits

PURCHASES: Final = ("purchase", "ecommerce_purchase", "in_app_purchase")
FIRST: Final = ("first_visit", "first_open")  # events that `traffic_source`, the user's first, belongs to
BATCH: Final = ("event_bundle_sequence_id", "batch_page_id", "batch_ordering_id", "batch_event_index")
OWN_TRAITS: Final = ("_", "ga_", "google_", "firebase_", "first_open", "first_visit", "last_deep_link", "user_id")


def holds(row: Row) -> bool:
    return "event_name" in row and "event_timestamp" in row and ("user_pseudo_id" in row or "event_params" in row)


def calls(row: Row, reading: Reading) -> list[Call]:
    """The event, and before it what `user_properties` says; Google's own user properties are left out."""
    params = _keyed(row.get("event_params"))
    call = filled(
        {
            **_kind(row.get("event_name"), params),
            "messageId": _id(row, params),
            "timestamp": instant(row.get("event_timestamp"), reading.zone),
            "userId": row.get("user_id"),
            "anonymousId": row.get("user_pseudo_id"),
            "properties": _properties(row, params),
            "context": _context(row, params),
        }
    )
    traits = {name: value for name, value in _keyed(row.get("user_properties")).items() if not _is_googles(name)}
    return with_traits(call, traits)


def _kind(name: Any, params: Row) -> Call:
    if name == "page_view":
        return {"type": "page"}
    if name == "screen_view":
        named = (params.get(key) for key in ("screen_name", "firebase_screen", "firebase_screen_class"))
        return {"type": "screen", "name": first(*named)}
    return {"type": "track", "event": name}


def _id(row: Row, params: Row) -> str:
    """Who, what, when, and the place in the batch that was uploaded. Rows without `batch_event_index` (exports before
    2024, some apps) may share all of these with a neighbour, so the parameters count there as well."""
    who = first(row.get("user_pseudo_id"), row.get("user_id"))
    what = [row.get("stream_id"), who, row.get("event_name"), row.get("event_timestamp")]
    place = [str(row.get(name)) for name in BATCH]
    return stable_id("ga4", [str(part) for part in what], place, params if row.get(BATCH[-1]) is None else {})


def _properties(row: Row, params: Row) -> Row:
    order = {name: number(value) for name, value in members(row.get("ecommerce")).items()}
    paid = order.get("purchase_revenue")
    if paid is None and row.get("event_name") in PURCHASES:
        paid = params.get("value")
    items = [{name: number(v) if name == "quantity" else v for name, v in filled(item).items()}
             for item in rows(row.get("items"))]  # fmt: skip
    return filled({**order, **params, "revenue": paid, "items": items})


def _context(row: Row, params: Row) -> Row:
    device, geo, app = (members(row.get(name)) for name in ("device", "geo", "app_info"))
    campaign = _campaign(row, params)
    platform = row.get("platform")
    return filled(
        {
            "page": page(params.get("page_location"), title=params.get("page_title"),
                         referrer=params.get("page_referrer")),
            "campaign": campaign,
            "channel": "app" if platform in ("ANDROID", "IOS") and not campaign else None,
            "device": filled({"type": device.get("category"), "manufacturer": device.get("mobile_brand_name"),
                              "model": device.get("mobile_model_name")}),
            "os": filled({"name": device.get("operating_system"), "version": device.get("operating_system_version")}),
            "browser": filled({k: members(device.get("web_info")).get(k) for k in ("browser", "browser_version")}),
            "locale": device.get("language"),
            "location": filled({name: geo.get(name) for name in ("continent", "country", "region", "city")}),
            "app": filled({"namespace": app.get("id"), "version": app.get("version")}),
            "ga4": filled({"stream_id": row.get("stream_id"), "platform": platform,
                           "traffic_source": members(row.get("traffic_source"))}),
        }
    )  # fmt: skip


def _campaign(row: Row, params: Row) -> Row:
    """What was collected with this very event; the user's first source only where he came for the first time."""
    collected = members(row.get("collected_traffic_source"))
    told = _utm(collected, "manual_source", "manual_medium", "manual_campaign_name", "manual_term", "manual_content")
    if collected.get("gclid") and "medium" not in told:
        told = {"source": "google", "medium": "cpc", **told}
    if not told:
        told = _utm(params, "source", "medium", "campaign", "term", "content")
    if not told and row.get("event_name") in FIRST:
        told = _utm(members(row.get("traffic_source")), "source", "medium", "name")
    return told


def _utm(found: Row, *names: str) -> Row:
    """The members of these names as a `context.campaign`; nothing if it has neither source nor medium."""
    told = filled(dict(zip(("source", "medium", "name", "term", "content"), map(found.get, names), strict=False)))
    return told if "source" in told or "medium" in told else {}


def _keyed(entries: Any) -> Row:
    """`[{key, value: {string_value, int_value, …}}]` as an object."""
    found = [(entry.get("key"), _value(members(entry.get("value")))) for entry in rows(entries)]
    return {key: value for key, value in found if isinstance(key, str) and value is not None}


def _value(value: Row) -> Any:
    if "string_value" in value:
        return value["string_value"]
    return number(first(*(value.get(name) for name in ("int_value", "float_value", "double_value"))))


def _is_googles(name: str) -> bool:
    return name.startswith(OWN_TRAITS)


EXPORT: Final = Export("ga4", "Google Analytics 4 (BigQuery export as JSON lines)", holds, calls)
