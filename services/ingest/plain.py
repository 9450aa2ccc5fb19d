"""The plain touchpoint, to which nothing has to be done: decided at once, as `accept` would with all its checks. Pure.

Most are plain: a track, page or screen of somebody with usual identifiers, at a time that needs no correction. Whatever
is unusual about a touchpoint, `Plain` leaves the decision to `accept`; a property test says that both decide the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeGuard

import msgspec

from services.ingest.accept import MAX_TOUCHPOINT, Accepted, Intake
from services.ingest.channel import classify
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.identifiers import MAX_BYTES, identifier
from services.ingest.policy import Applied
from services.ingest.times import AHEAD, EARLIEST
from shared.identifiers import IdentityRules
from shared.touchpoint import Touchpoint

REMEMBERED: Final = 8192  # visitors
_ENCODE: Final = msgspec.json.Encoder().encode


class Visitor(NamedTuple):
    """The identifiers of somebody, and the key of the record."""

    ids: dict[str, str]
    key: bytes


class Visitors:
    """Who is behind a `userId` and an `anonymousId`: remembered, since visitors come again and again."""

    __slots__ = ("_rules", "of")

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules
        self.of = lru_cache(maxsize=REMEMBERED)(self._of)

    def _of(self, user_id: str | None, anonymous_id: str | None) -> Visitor | None:
        """None unless all that is given identifies somebody."""
        ids: dict[str, str] = {}
        for kind, value in (("user_id", user_id), ("anonymous_id", anonymous_id)):
            if value is None:
                continue
            kept = identifier(kind, value, self._rules) if kind in self._rules.kinds else None
            if not isinstance(kept, str):
                return None
            ids[kind] = kept
        return Visitor(ids, ":".join(self._rules.highest(ids)).encode()) if ids else None


class Plain:
    """Decides on the plain touchpoints of one request."""

    __slots__ = ("_arrival", "_channel", "_is_shifted", "_latest", "_policy", "_source", "_visitor_of")

    def __init__(self, intake: Intake, policy: Applied, visitors: Visitors) -> None:
        self._policy, self._visitor_of = policy, visitors.of
        self._source, self._channel = intake.source.name, intake.source.channel
        self._arrival = arrival = intake.arrival
        self._latest = arrival.at + AHEAD
        self._is_shifted = bool(arrival.offset(None))

    def decide(self, raw: RawTouchpoint) -> Accepted | None:
        """None if it is not plain."""
        type_, id_ = raw.type, raw.message_id
        properties = {} if raw.properties is None else raw.properties
        traits = {} if raw.traits is None else raw.traits
        context = {} if raw.context is None else raw.context
        if raw.unclean or not (type(properties) is type(traits) is type(context) is dict) or not _is_id(id_):
            return None
        event, visitor, time = _event(type_, raw), self._visitor(raw, context), self._time(raw)
        if event is None or visitor is None or time is None or not self._policy.passes(context):
            return None
        channel, acquisition = classify(type_, context, properties, self._channel)
        touchpoint = Touchpoint(
            id=id_, type=type_, time=time, received_at=self._arrival.at, source=self._source, channel=channel,
            ids=visitor.ids, event=event or None, acquisition=acquisition, properties=properties, traits=traits,
            context=context,
        )  # fmt: skip
        value = _ENCODE(touchpoint)
        return Accepted(touchpoint, visitor.key, value, []) if len(value) <= MAX_TOUCHPOINT else None

    def _visitor(self, raw: RawTouchpoint, context: dict[str, Any]) -> Visitor | None:
        user_id, anonymous_id = raw.user_id, raw.anonymous_id
        if "externalIds" in context or "ids" in context or not (_is_short(user_id) and _is_short(anonymous_id)):
            return None
        return self._visitor_of(user_id, anonymous_id)

    def _time(self, raw: RawTouchpoint) -> datetime | None:
        """As it was sent, unless the clock that said it is wrong."""
        given, sent_at = raw.timestamp, raw.sent_at
        if type(given) is not str or (self._is_shifted if sent_at is None else self._arrival.offset(sent_at)):
            return None
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            return None
        return moment if moment.tzinfo is UTC and EARLIEST <= moment <= self._latest else None


def _is_id(value: Any) -> TypeGuard[str]:
    return (
        type(value) is str and value.isascii() and len(value) <= MAX_BYTES and "\0" not in value and bool(value.strip())
    )


def _is_short(value: Any) -> bool:
    """Whether it is nothing, or a text that is worth remembering."""
    return value is None or (type(value) is str and len(value) <= MAX_BYTES)


def _event(type_: Any, raw: RawTouchpoint) -> str | None:
    """The name of a track; of a page or screen its name, or "" if it has none."""
    if type_ == "track":
        return raw.event if type(raw.event) is str and raw.event.strip() else None
    if type_ not in ("page", "screen"):
        return None
    name = "" if raw.name is None else raw.name
    return name if type(name) is str and (name == "" or name.strip()) else None
