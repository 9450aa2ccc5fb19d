"""When a touchpoint happened: the client's time, corrected by a clock offset only, and kept within reason. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from services.ingest.reasons import Rejection, rejection

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(minutes=5)  # further ahead than this is a wrong clock: the time is when we received it
TOO_FAR_AHEAD: Final = timedelta(hours=24)
WRONG_CLOCK: Final = timedelta(minutes=5)
CORRECTED: Final = "time_corrected"
CLAMPED: Final = "time_clamped"
RECEIVED: Final = "time_received"

_NONE: Final = timedelta(0)
_MINUTE: Final = timedelta(minutes=1)
_BEYOND: Final = "year outside of 1 to 9999"


class Unreadable(ValueError):
    """This is no time."""


def read(value: object) -> datetime:
    """An ISO 8601 time as UTC; no zone means UTC. Raises Unreadable, or OverflowError beyond the years 1 to 9999."""
    if type(value) is not str:
        raise Unreadable
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = _read_leniently(value)
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _read_leniently(value: str) -> datetime:
    """With spaces around it, `z` in lower case, or a leap second, which is the second after."""
    text = value.strip().upper()
    leap = text[16:19] == ":60"
    try:
        moment = datetime.fromisoformat(f"{text[:16]}:59{text[19:]}" if leap else text)
    except ValueError as error:
        raise Unreadable from error
    return moment + timedelta(seconds=1) if leap else moment


def offset(sent_at: object, received_at: datetime) -> timedelta | None:
    """What to add to the client's times: whole minutes, nothing unless its clock is 5 minutes off; None: unusable."""
    try:
        difference = received_at - read(sent_at)
    except (Unreadable, OverflowError):
        return None
    if abs(difference) < WRONG_CLOCK:
        return _NONE
    return (difference + _MINUTE / 2) // _MINUTE * _MINUTE


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """When a request came, and the clock offset that its envelope shows (None: its touchpoints' own, if any, count)."""

    at: datetime
    envelope: timedelta | None = None
    is_retry: bool = False

    @classmethod
    def of(cls, at: datetime, sent_at: object, is_retry: bool) -> Arrival:
        """A retry carries the `sent_at` of its first try, so it corrects nothing."""
        return cls(at=at, envelope=None if is_retry or sent_at is None else offset(sent_at, at), is_retry=is_retry)

    def offset(self, own_sent_at: object) -> timedelta:
        """The clock offset for a touchpoint: by its own `sent_at`, else by the envelope's."""
        if self.is_retry:
            return _NONE
        own = offset(own_sent_at, self.at) if own_sent_at is not None else None
        return own if own is not None else self.envelope or _NONE


def settle(given: object, own_sent_at: object, arrival: Arrival) -> tuple[datetime, tuple[str, ...]] | Rejection:
    """The time that is kept, and the flags that say what was done to it."""
    if given is None:
        return arrival.at, (RECEIVED,)
    flags: tuple[str, ...] = ()
    try:
        moment = read(given)
        if shift := arrival.offset(own_sent_at):
            moment, flags = moment + shift, (CORRECTED,)
    except Unreadable:
        return rejection("time_invalid")
    except OverflowError:
        return rejection("time_out_of_range", _BEYOND)
    if moment > arrival.at + AHEAD:
        if moment > arrival.at + TOO_FAR_AHEAD:
            return rejection("time_out_of_range", moment.isoformat())
        return arrival.at, (*flags, CLAMPED)
    if moment < EARLIEST:
        return rejection("time_out_of_range", moment.isoformat())
    return moment, flags
