"""A dead letter judged again: what of its request is kept beside the touchpoint, and how it is read again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.dialect import Call, Dialect
from services.ingest.dialects.raw import Parsed
from services.ingest.errors import Refusal
from services.ingest.reasons import Rejection
from services.ingest.times import Arrival

MAX_REQUEST: Final = 4 * 1024  # bytes of a request that are kept beside each of its rejected touchpoints
IMPORTED: Final = "/v1/batch"  # how a touchpoint is read that came by no request
COVERED: Final = json.dumps({"covered": True})  # what stands for the request where some of an import is hidden
_VISITOR = re.compile(rb"user-agent|sec-gpc")
_TELLING = re.compile(  # no keys, no addresses
    rb"user-agent|sec-gpc|content-type|posthog-sdk-.+|sp-anonymous"
    rb"|x-.+-(topic|event|type|(event|webhook|delivery)-id|triggered-at)"
)


@dataclass(frozen=True, slots=True)
class Resent:
    """A call that carries one touchpoint again. ``shared`` is what its envelope gave to each of its touchpoints;
    ``is_covered``: what its source hides is hidden in it already."""

    path: str
    headers: Mapping[bytes, bytes]
    body: bytes
    sent_at: object
    is_retry: bool
    shared: object = None
    is_covered: bool = False
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)  # nothing of it is kept: keys stand there


def kept(call: Call, parsed: Parsed, is_retry: bool) -> str:
    """What has to be known of a request to read one of its touchpoints again, as JSON. It lies beside each of them, so
    what the envelope shares and the headers are left out, in this order, where they would make it too long."""
    told = {"path": call.path, "sent_at": _short(parsed.sent_at), "retry": is_retry}
    headers = {"headers": _headers(call, _TELLING)}
    shared = {"shared": parsed.shared} if parsed.shared else {}
    for more in (headers | shared, headers):
        text = json.dumps(told | more)
        if len(text) <= MAX_REQUEST:
            return text
    return json.dumps(told)


def kept_covered(call: Call, parsed: Parsed, is_retry: bool) -> str:
    """The same for a touchpoint of which something is hidden: it is kept in Segment's form, whatever it came in."""
    told = {"path": IMPORTED, "sent_at": _short(parsed.sent_at), "retry": is_retry, "covered": True}
    text = json.dumps(told | {"headers": _headers(call, _VISITOR)})
    return text if len(text) <= MAX_REQUEST else json.dumps(told)


def _short(sent_at: object) -> object:
    """A time as it was sent, unless it can be none."""
    return sent_at if isinstance(sent_at, int | float) or (isinstance(sent_at, str) and len(sent_at) < 100) else None


def _headers(call: Call, wanted: re.Pattern[bytes]) -> dict[str, str]:
    found = {name: value for name, value in call.headers.items() if wanted.fullmatch(name)}
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in found.items()}


def resent(request: str, original: bytes) -> Resent:
    """The call of a dead letter: ``request`` as `kept` gave it, empty for what came from a file."""
    told: dict[str, Any] = json.loads(request) if request else {}
    return Resent(
        path=told.get("path", IMPORTED),
        headers={name.encode("latin-1"): value.encode("latin-1") for name, value in told.get("headers", {}).items()},
        body=original,
        sent_at=told.get("sent_at"),
        is_retry=told.get("retry", True),
        shared=told.get("shared"),
        is_covered=told.get("covered", False),
    )


def read_again(call: Resent, routes: Mapping[str, Dialect]) -> Parsed:
    """As its dialect reads it today. Raises Refusal."""
    dialect = routes.get(call.path)
    if dialect is None:
        raise Refusal("not_found", f"nothing is spoken on {call.path} any more")
    return dialect.again(call, call.shared) if dialect.again is not None else dialect.parse(call)


def judge(
    call: Resent, routes: Mapping[str, Dialect], received_at: datetime, intake: Intake
) -> list[Accepted | Rejection]:
    """The same checks as the first time, as they are today; a body that cannot be read is rejected with the refusal's
    code. A mapping of today may make several touchpoints of it, or none. The arrival that ``intake`` has is replaced by
    the first one."""
    try:
        parsed = read_again(call, routes)
    except Refusal as refusal:
        return [Rejection(refusal.code, str(refusal.problem()["detail"]))]
    sent_at = call.sent_at if parsed.sent_at is None else parsed.sent_at
    arrival = Arrival.of(received_at, sent_at, call.is_retry)
    again = msgspec.structs.replace(intake, arrival=arrival)
    return [accept(raw, again) for raw in parsed.items]
