"""Accept or reject: a raw touchpoint, its source and its arrival become a Touchpoint on the log or a Rejection. Pure.

`accept` runs CHECKS from top to bottom; the first that finds something wrong gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from services.ingest.channel import classify
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.hygiene import scrub
from services.ingest.identifiers import MAX_BYTES, PLACEHOLDER, gather, identifier, is_short, text_of
from services.ingest.reasons import Rejection, rejection
from services.ingest.times import Arrival, settle
from shared.identifiers import IdentityRules
from shared.keys import Source
from shared.touchpoint import Touchpoint

MAX_TOUCHPOINT: Final = 32 * 1024
TYPES: Final = frozenset(("track", "identify", "page", "screen", "group", "alias"))
_ENCODE = msgspec.json.Encoder().encode


class Judge(Protocol):
    """Decides on a touchpoint, and may change it, once it has passed all other checks."""

    def judge(self, type_: str, draft: Draft, /) -> Rejection | None: ...


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What all touchpoints of a request share; ``new_id`` gives an id to those that have none, ``policy`` says what the
    source wants done with them besides (`policy.py`)."""

    source: Source
    arrival: Arrival
    rules: IdentityRules
    new_id: Callable[[], str]
    policy: Judge | None = None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A touchpoint as it goes to the log: encoded, with its highest identifier as the key. ``dropped``: why
    identifiers were not used, one entry each."""

    touchpoint: Touchpoint
    key: bytes
    value: bytes
    dropped: list[str]


class Draft:
    """A touchpoint on its way through the checks."""

    __slots__ = (
        "context", "dropped", "event", "flags", "group_id", "id", "ids", "previous_id", "properties", "time", "traits",
    )  # fmt: skip
    id: str
    ids: dict[str, str]
    time: datetime
    flags: tuple[str, ...]
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.event: str | None = None
        self.previous_id: str | None = None
        self.group_id: str | None = None


Check = Callable[[RawTouchpoint, Intake, Draft], Rejection | None]


def accept(raw: RawTouchpoint | None, intake: Intake) -> Accepted | Rejection:
    """Decides on one touchpoint; None stands for something that is no object."""
    if raw is None:
        return rejection("not_an_object")
    draft = Draft()
    for check in CHECKS:
        wrong = check(raw, intake, draft)
        if wrong is not None:
            return Rejection(wrong.reason, wrong.message, _shown_id(raw))
    touchpoint = _touchpoint(raw, intake, draft)
    value = _ENCODE(touchpoint)
    if len(value) > MAX_TOUCHPOINT:
        return Rejection("too_large", rejection("too_large", f"{len(value)} bytes").message, touchpoint.id)
    kind, highest = intake.rules.highest(touchpoint.ids)
    return Accepted(touchpoint, f"{kind}:{highest}".encode(), value, draft.dropped)


def _has_a_known_type(raw: RawTouchpoint, _: Intake, __: Draft) -> Rejection | None:
    if type(raw.type) is str and raw.type in TYPES:
        return None
    return raw.type if type(raw.type) is Rejection else rejection("type_unknown")


def _has_objects_that_are_flat_enough(raw: RawTouchpoint, _: Intake, draft: Draft) -> Rejection | None:
    draft.properties = properties = {} if raw.properties is None else raw.properties
    draft.traits = traits = {} if raw.traits is None else raw.traits
    draft.context = context = {} if raw.context is None else raw.context
    if raw.unclean:
        return _has_clean_objects(raw, draft)
    if type(properties) is dict and type(traits) is dict and type(context) is dict:
        return None
    return rejection("not_an_object")


def _has_clean_objects(raw: RawTouchpoint, draft: Draft) -> Rejection | None:
    """The careful path. Clients in PHP send `[]` for an empty object."""
    if raw.too_deep:
        return rejection("too_deep")
    for name in ("properties", "traits", "context"):
        value = getattr(draft, name)
        if type(value) is not dict and value != []:
            return rejection("not_an_object", name)
        setattr(draft, name, scrub(value or {}))
    return None


def _has_identifiers(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    ids = gather(raw, intake.rules, draft.dropped)
    if type(ids) is not dict:
        return ids  # type: ignore[return-value]
    draft.ids = ids
    return None


def _has_an_id(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    """Blank is none. Ids are compared as they are, so nothing is trimmed."""
    given = raw.message_id
    if type(given) is str and given.isascii() and len(given) <= MAX_BYTES and "\0" not in given and given.strip():
        draft.id = given
        return None
    if given is None or (type(given) is str and not given.strip()):
        draft.id = intake.new_id()
        return None
    text = text_of(given, "messageId")
    if not isinstance(text, str):
        return text
    draft.id = text
    return None if is_short(text) else rejection("identifier_too_long", "messageId")


def _has_what_its_type_needs(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    need = _NEEDS.get(raw.type)
    return need(raw, intake, draft) if need is not None else None


def _has_a_time(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    given = raw.timestamp if raw.timestamp is not None else raw.original_timestamp
    settled = settle(given, raw.sent_at, intake.arrival)
    if type(settled) is tuple:
        draft.time, draft.flags = settled
        return None
    return settled  # type: ignore[return-value]


def _is_as_its_source_wants(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    return intake.policy.judge(raw.type, draft) if intake.policy is not None else None


CHECKS: Final[tuple[Check, ...]] = (
    _has_a_known_type,
    _has_objects_that_are_flat_enough,
    _has_identifiers,
    _has_an_id,
    _has_what_its_type_needs,
    _has_a_time,
    _is_as_its_source_wants,
)


def _event(raw: RawTouchpoint, _: Intake, draft: Draft) -> Rejection | None:
    draft.event = _name(raw.event, raw.unclean)
    return None if draft.event else rejection("event_missing")


def _page(raw: RawTouchpoint, _: Intake, draft: Draft) -> Rejection | None:
    draft.event = _name(raw.name, raw.unclean)
    return None


def _alias(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    if "user_id" not in draft.ids:
        return rejection("identifier_missing", "an alias needs a userId")
    if raw.previous_id is None:
        return rejection("previous_id_missing")
    previous = identifier("user_id", raw.previous_id, intake.rules)
    if previous is None:
        draft.dropped.append(PLACEHOLDER)
        return rejection("previous_id_missing")
    if not isinstance(previous, str):
        return rejection(previous.reason, "previousId")
    draft.previous_id = previous
    return None


def _group(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Rejection | None:
    if raw.group_id is None:
        return rejection("group_id_missing")
    group = identifier("group_id", raw.group_id, intake.rules)
    if group is None:
        return rejection("group_id_missing")
    if not isinstance(group, str):
        return rejection(group.reason, "groupId")
    draft.group_id = group
    return None


def _identify(_: RawTouchpoint, __: Intake, draft: Draft) -> Rejection | None:
    """RudderStack's SDKs have traits in the context alone."""
    spoken = draft.context.get("traits") if not draft.traits else None
    if type(spoken) is dict:
        draft.traits = spoken
    return None


_NEEDS: Final[dict[str, Check]] = {
    "track": _event, "page": _page, "screen": _page, "alias": _alias, "group": _group, "identify": _identify
}  # fmt: skip


def _name(value: Any, unclean: bool) -> str | None:
    """A name as sent: text that is not blank, or a whole number as text."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        return None
    text: str = scrub(value) if unclean else value
    return text if text.strip() else None


def _touchpoint(raw: RawTouchpoint, intake: Intake, draft: Draft) -> Touchpoint:
    channel, acquisition = classify(raw.type, draft.context, draft.properties, intake.source.channel)
    return Touchpoint(
        id=draft.id,
        type=raw.type,
        time=draft.time,
        received_at=intake.arrival.at,
        source=intake.source.name,
        channel=channel,
        ids=draft.ids,
        event=draft.event,
        acquisition=acquisition,
        previous_id=draft.previous_id,
        group_id=draft.group_id,
        flags=draft.flags,
        properties=draft.properties,
        traits=draft.traits,
        context=draft.context,
    )


def _shown_id(raw: RawTouchpoint) -> str | None:
    """The id that an answer names, if there is one that can be shown."""
    given = raw.message_id
    text = text_of(given, "messageId") if given is not None else None
    return text[:MAX_SHOWN] if isinstance(text, str) and text.strip() else None


MAX_SHOWN: Final = 256
