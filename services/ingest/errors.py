"""Every refusal of a request, in one table: code -> HTTP status and what to say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

MEDIA_TYPE: Final = b"application/problem+json"

REFUSALS: Final[dict[str, tuple[int, str]]] = {
    "body_not_json": (400, "the body is not JSON"),
    "body_not_an_object": (400, "the body must be a JSON object"),
    "body_too_deep": (400, "the body is nested more than 40 levels deep outside of its touchpoints"),
    "batch_missing": (400, "the body needs a list `batch`"),
    "attribute_missing": (400, "a CloudEvent needs id, source, type and specversion"),
    "compression_broken": (400, "the body is not what its Content-Encoding says, or was compressed twice"),
    "touchpoints_rejected": (400, "strict=1: a touchpoint was rejected, so none was accepted"),
    "key_missing": (401, "no write key: send it as Basic user, Bearer, X-Write-Key, ?writeKey= or body writeKey"),
    "key_unknown": (401, "this key is not known here"),
    "key_ended": (401, "this key has been replaced and is no longer taken"),
    "signature_invalid": (401, "the signature of this webhook is missing, wrong or too old"),
    "scope_missing": (403, "this read key lacks the scope admin"),
    "origin_forbidden": (403, "this source does not take touchpoints from pages of this origin"),
    "not_found": (404, "nothing is here; /docs lists what there is"),
    "method_not_allowed": (405, "this method is not allowed here"),
    "body_too_slow": (503, "the body did not arrive in time; send it again"),
    "body_too_large": (413, "a body may have 5 MiB, decompressed"),
    "too_many_touchpoints": (413, "a request may carry 2,500 touchpoints"),
    "encoding_unknown": (415, "a body may be encoded with gzip, deflate or zstd, or not at all"),
    "content_type_unknown": (415, "a Content-Type that is not understood here"),
    "value_invalid": (422, "the request says something that cannot be"),
    "rate_exceeded": (429, "this source sends more than its rate; try again later"),
    "internal": (500, "this is our mistake; the log says more"),
    "log_unavailable": (503, "the log did not acknowledge in time; nothing is lost if you send this again"),
    "overloaded": (503, "too much is in flight; try again in a moment"),
}


@dataclass(eq=False)
class Refusal(Exception):
    """A request that is answered with an error: one of REFUSALS, seconds to wait, members to add to the answer,
    and for method_not_allowed what is allowed."""

    code: str
    detail: str | None = None
    retry_after: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    allowed: str = "POST, OPTIONS"

    @property
    def status(self) -> int:
        return REFUSALS[self.code][0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Retry-After in whole seconds, at least one; a challenge where a key is wanted."""
        if self.status == 401:
            return [(b"www-authenticate", b'Bearer realm="throughline"')]  # Basic would make browsers ask their users
        if self.status == 405:
            return [(b"allow", self.allowed.encode())]
        if self.status in (429, 503):
            return [(b"retry-after", str(max(1, math.ceil(self.retry_after or 1))).encode())]
        return []

    def problem(self) -> dict[str, Any]:
        """RFC 9457, with `code` and `message` for clients that look for those."""
        status, message = REFUSALS[self.code]
        detail = self.detail or message
        return {
            "type": "about:blank", "title": message, "status": status, "detail": detail,
            "code": self.code, "message": detail, **self.more,
        }  # fmt: skip

    def body(self) -> bytes:
        return msgspec.json.encode(self.problem())
