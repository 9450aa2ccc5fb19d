"""From decisions to records of the log: touchpoints, rejected ones, commands. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from services.ingest.accept import TYPES, Accepted
from services.ingest.reasons import Rejection
from shared.eventlog.port import Headers, Record
from shared.touchpoint import Command, Revocation

MAX_KEPT: Final = 64 * 1024  # bytes of a rejected touchpoint that are kept
_ENCODE: Final = msgspec.json.Encoder().encode
_TYPE_HEADERS: Final = {type_: ("ce_type", type_.encode()) for type_ in TYPES}


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter of ingest, on the topic `touchpoints.rejected`. ``data`` is what was sent, cut at 64 KiB; its
    ``encoding`` is base64 where it is not UTF-8, and sealed where it is a token of `shared.seals`. ``request`` is what
    is kept of the request (`redrive.kept`), sealed as well then."""

    id: str | None
    index: int
    source: str
    reason: str
    message: str
    received_at: datetime
    encoding: str
    data: str
    request: str = ""


def shared_headers(traceparent: bytes, source: bytes) -> Headers:
    """What the headers of all touchpoints of a request begin with."""
    return (("traceparent", traceparent), ("ce_specversion", b"1.0"), ("ce_source", source))


def record_of(accepted: Accepted, shared: Headers) -> Record:
    """Keyed by the highest identifier, so that a customer's touchpoints meet in one partition."""
    touchpoint = accepted.touchpoint
    own = (
        _TYPE_HEADERS[touchpoint.type],
        ("ce_id", touchpoint.id.encode()),
        ("ce_time", _ENCODE(touchpoint.time)[1:-1]),
    )
    return Record(accepted.key, accepted.value, shared + own)


def touchpoint_record(accepted: Accepted, traceparent: bytes, source: bytes) -> Record:
    """The record of one touchpoint alone."""
    return record_of(accepted, shared_headers(traceparent, source))


def rejected_record(
    rejection: Rejection, index: int, *, source: str, received_at: datetime, original: bytes, traceparent: bytes,
    request: str = "", seal: Callable[[bytes], bytes] | None = None,
) -> Record:  # fmt: skip
    """The letter that keeps a rejected touchpoint."""
    if seal is None:
        encoding, data = _kept(original[:MAX_KEPT])
    else:
        encoding, data, request = "sealed", seal(original[:MAX_KEPT]).decode(), seal(request.encode()).decode()
    letter = Rejected(
        id=rejection.id,
        index=index,
        source=source,
        reason=rejection.reason,
        message=rejection.message,
        received_at=received_at,
        encoding=encoding,
        data=data,
        request=request,
    )
    return Record(source.encode(), _ENCODE(letter), (("traceparent", traceparent),))


def command_record(command: Command, traceparent: bytes) -> Record:
    """Keyed by the id of the revocation, so that its withdrawal is read by the same worker, after it."""
    headers: Headers = (
        ("traceparent", traceparent),
        ("ce_specversion", b"1.0"),
        ("ce_source", b"ingest"),
        ("ce_type", b"revoke" if isinstance(command, Revocation) else b"withdraw"),
        ("ce_id", command.id.encode()),
        ("ce_time", _ENCODE(command.received_at)[1:-1]),
    )
    return Record(command.id.encode(), _ENCODE(command), headers)


def _kept(data: bytes) -> tuple[str, str]:
    """As text if it is UTF-8 (but for a character that the cut went through), else as base64."""
    for cut in range(4):
        try:
            return "utf-8", data[: len(data) - cut].decode()
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                break
    return "base64", b64encode(data).decode()
