"""One event of PostHog becomes a raw touchpoint. Pure.

**Whose is it?** PostHog has one `distinct_id` for people who are known and for those who are not. It is a `user_id`, or
an `anonymous_id` by the first of these that says so:

1. an `$identify` names a user, and its `$anon_distinct_id` is who he was until then;
2. `$is_identified`, which browsers and apps send, is right either way;
3. the `$device_id` is what a browser calls itself before anybody logs in: equal to it means anonymous;
4. the id that was registered as `$user_id` is a user;
5. an event without a person profile (`$process_person_profile: false`) is anonymous: SDKs make up its id;
6. `$company_acme` of a `$groupidentify` for `company` `acme` is made up by servers: anonymous;
7. all others, servers' above all, are users.

The `$device_id` itself is kept in `context.device.id` and identifies nobody: it outlives `reset()`, which is there to
part two people. `$posthog_cookieless` stands for everybody without a cookie, so for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from services.ingest import hygiene
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.times import Unreadable, read

NOBODY: Final = "$posthog_cookieless"
TYPES: Final = {
    "$pageview": "page", "$screen": "screen", "$identify": "identify", "$set": "identify", "$groupidentify": "group",
    "$create_alias": "alias", "$merge_dangerously": "alias",
}  # fmt: skip
_ELSEWHERE: Final = frozenset(  # keys, who it is and where, traits: so that what protects people finds all of it
    ("token", "api_key", "distinct_id", "$device_id", "$anon_distinct_id", "$user_id", "$ip", "$set", "$set_once",
     "$group_set")
)  # fmt: skip
_CONTEXT: Final = (  # section of the context (none: the context itself), name in it, PostHog's property
    ("page", "url", "$current_url"), ("page", "path", "$pathname"), ("page", "referrer", "$referrer"),
    ("campaign", "name", "utm_campaign"), ("campaign", "source", "utm_source"), ("campaign", "medium", "utm_medium"),
    ("campaign", "term", "utm_term"), ("campaign", "content", "utm_content"),
    ("library", "name", "$lib"), ("library", "version", "$lib_version"),
    ("app", "name", "$app_name"), ("app", "version", "$app_version"), ("app", "build", "$app_build"),
    ("app", "namespace", "$app_namespace"), ("os", "name", "$os"), ("os", "version", "$os_version"),
    ("device", "id", "$device_id"), ("device", "type", "$device_type"), ("device", "model", "$device_model"),
    ("device", "manufacturer", "$device_manufacturer"), ("screen", "width", "$screen_width"),
    ("screen", "height", "$screen_height"), ("", "userAgent", "$raw_user_agent"), ("", "ip", "$ip"),
    ("", "locale", "$locale"), ("", "timezone", "$timezone"), ("", "sessionId", "$session_id"),
)  # fmt: skip
_SCALARS: Final = (str, int, float)

Row = dict[str, Any]


def touchpoint(row: Row, *, library: str = "", unclean: bool, sent_at: object = None) -> RawTouchpoint:
    """The raw touchpoint of an event; ``library``: `name/version` of the SDK where the event does not say it;
    ``sent_at``: of its envelope, for events whose time is told as milliseconds before that."""
    given = row.get("properties")
    properties = given if isinstance(given, dict) else {}
    event = row.get("event")
    type_ = _type(row, event)
    raw = RawTouchpoint(
        type=type_,
        event=event if type_ == "track" else None,
        name=properties.get("$screen_name") if type_ == "screen" else None,
        message_id=_first(row.get("uuid"), properties.get("$insert_id")),
        group_id=properties.get("$group_key") if type_ == "group" else None,
        timestamp=_time(row, sent_at),
        sent_at=row.get("sent_at"),
        properties={name: value for name, value in properties.items() if name not in _ELSEWHERE} if given else given,
        traits=_traits(row, properties),
        context=_context(row, properties, type_, library),
        unclean=unclean,
        too_deep=unclean and hygiene.depth(row) > hygiene.MAX_DEPTH,
    )
    if given and not properties:
        raw.properties = given  # not an object: to be rejected as it was sent
    _name_who(raw, row, properties)
    return raw


def _type(row: Row, event: Any) -> str:
    """`/engage` once sent traits without an event."""
    if event is None and ("$set" in row or "$set_once" in row):
        return "identify"
    return TYPES.get(event, "track") if isinstance(event, str) else "track"


def _time(row: Row, sent_at: object) -> Any:
    """Older browser SDKs send an `offset` in milliseconds instead of a `timestamp`."""
    given, offset = row.get("timestamp"), row.get("offset")
    if given is not None or not isinstance(offset, int | float) or isinstance(offset, bool):
        return given
    try:
        return (read(sent_at) - timedelta(milliseconds=offset)).isoformat()
    except (Unreadable, ValueError, OverflowError):
        return None


def _name_who(raw: RawTouchpoint, row: Row, properties: Row) -> None:
    who = _first(row.get("distinct_id"), row.get("$distinct_id"), properties.get("distinct_id"))
    if who == NOBODY:
        return
    before = _first(properties.get("$anon_distinct_id"), row.get("$anon_distinct_id"))
    anonymous = _is_anonymous(who, row, properties)
    if raw.type == "alias":
        other = properties.get("alias")
        raw.user_id, raw.previous_id = (other, who) if anonymous else (who, other)
        raw.anonymous_id = who  # either of the two may be the one that was anonymous
    elif anonymous:
        raw.anonymous_id = who
    else:
        raw.user_id, raw.anonymous_id = who, before


def _is_anonymous(who: Any, row: Row, properties: Row) -> bool:
    """The rule above."""
    if row.get("event") == "$identify":
        return False
    marked = properties.get("$is_identified")
    if isinstance(marked, bool):
        return not marked
    if who == properties.get("$device_id") and who is not None:
        return True
    if who == properties.get("$user_id"):
        return False
    options = row.get("options")
    profile = options.get("process_person_profile") if isinstance(options, dict) else None
    if profile is False or properties.get("$process_person_profile") is False:
        return True
    kind, key = properties.get("$group_type"), properties.get("$group_key")
    return row.get("event") == "$groupidentify" and who == f"${kind}_{key}"


def _traits(row: Row, properties: Row) -> Any:
    """What is set of a person, or of a group; what should be set once only where nothing else is."""
    if row.get("event") == "$groupidentify":
        return properties.get("$group_set")
    parts = [holder.get(name) for name in ("$set_once", "$set") for holder in (properties, row)]
    told = [part for part in parts if part is not None]
    if all(isinstance(part, dict) for part in told):
        return {name: value for part in told for name, value in part.items()} if told else None
    return next(part for part in told if not isinstance(part, dict))


def _context(row: Row, properties: Row, type_: str, library: str) -> Row:
    context: Row = {}
    for section, name, value in _found(row, properties, type_):
        (context.setdefault(section, {}) if section else context)[name] = value
    if library and "library" not in context:
        name, _, version = library.partition("/")
        context["library"] = {"name": name, "version": version}
    return context


def _found(row: Row, properties: Row, type_: str) -> Iterator[tuple[str, str, Any]]:
    for section, name, of in _CONTEXT:
        value = properties.get(of)
        if type(value) in _SCALARS:
            yield section, name, "" if of == "$referrer" and value == "$direct" else value
    if type_ == "page" and type(properties.get("title")) is str:
        yield "page", "title", properties["title"]
    if type(row.get("session_id")) is str:
        yield "", "sessionId", row["session_id"]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
