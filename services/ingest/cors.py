"""CORS: pages of any origin may send, with credentials, and may read why they must wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HeaderList = list[tuple[bytes, bytes]]

_HEADERS: Final = (
    b"authorization, content-type, x-retry-count, x-write-key, x-enable-debug, x-ip-policy, anonymousid, sentat, "
    b"rsa-retry-attempt, rsa-since-last-attempt, rsa-since-first-attempt, rsa-retry-reason, rsa-recovered, "
    b"sp-anonymous, posthog-sdk-info, posthog-attempt, posthog-request-id, posthog-request-timestamp"
)


def answer_headers(origin: bytes | None) -> HeaderList:
    """On every answer to a page: its origin mirrored, since `*` is refused together with credentials."""
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"Retry-After"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(headers: Mapping[bytes, bytes]) -> HeaderList:
    """On OPTIONS: the headers that are asked for are mirrored, since `*` does not cover Authorization."""
    return [
        *answer_headers(headers.get(b"origin", b"*")),
        (b"access-control-allow-methods", b"GET,POST,PUT,OPTIONS"),
        (b"access-control-allow-headers", headers.get(b"access-control-request-headers", _HEADERS)),
        (b"access-control-max-age", b"86400"),
        *_handshake(headers),
    ]


def _handshake(headers: Mapping[bytes, bytes]) -> HeaderList:
    """CloudEvents' webhooks ask before they send: whoever asks may, as fast as its source's rate allows."""
    origin = headers.get(b"webhook-request-origin")
    if origin is None:
        return []
    return [(b"webhook-allowed-origin", origin), (b"webhook-allowed-rate", b"*")]
