"""The touchpoint and the commands, as they lie on the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

TOUCHPOINTS: Final = "touchpoints"
REJECTED: Final = "touchpoints.rejected"
CHANGES: Final = "journeys.changes"

CHANNELS: Final = (
    "web", "app", "email", "sms", "push", "phone", "chat", "store", "social", "ads", "mail", "delivery", "partner",
)  # fmt: skip
ACQUISITIONS: Final = (
    "Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other",
    "Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "Email", "Affiliates", "Referral", "Audio",
    "SMS", "Mobile Push Notifications", "AI Assistants", "Unassigned",
)  # fmt: skip

BOT: Final = "bot"  # the flag of what no person did: it lies on the log and is not stitched

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR


class Touchpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One interaction on the log (design.md section 4), UTF-8 JSON.

    ``time`` and ``received_at`` are RFC 3339 in UTC with microseconds. ``ids`` maps kind to value, placeholders
    dropped. ``properties``, ``traits`` and ``context`` are free-form objects. ``previous_id`` only on `alias`,
    ``group_id`` only on `group`. ``flags`` says what ingest did to the time: ``time_corrected`` (clock offset),
    ``time_clamped`` (was in the future), ``time_received`` (none was sent); and of the rest: ``bot`` (not stitched),
    ``anonymised`` (without consent), ``plan_violated``.
    """

    id: str
    type: str
    time: datetime
    received_at: datetime
    source: str
    channel: str
    ids: dict[str, str]
    event: str | None = None
    acquisition: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    flags: tuple[str, ...] = ()
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Revocation(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="revoke", omit_defaults=True):
    """A command on the log: from now on a link (``lower``, ``higher``) or an ``alias`` counts for nothing.

    ``lower`` and ``higher`` are ``kind:value``; ``alias`` is a pair of user ids. Exactly one of the two forms is set.
    """

    id: str
    received_at: datetime
    lower: str | None = None
    higher: str | None = None
    alias: tuple[str, str] | None = None
    reason: str = ""


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", tag="withdraw", omit_defaults=True):
    """A command on the log: the revocation ``id`` is undone, whichever of the two is read first."""

    id: str
    received_at: datetime
    reason: str = ""


Command = Revocation | Withdrawal


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of a zoned datetime, exactly."""
    delta = moment - EPOCH
    return delta.days * DAY + delta.seconds * SECOND + delta.microseconds


def moment(us: int) -> datetime:
    """The UTC datetime of microseconds since 1970-01-01."""
    return EPOCH + us * _MICROSECOND
