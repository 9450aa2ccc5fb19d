"""Is this webhook from whom it says? The signatures that products put on their webhooks, as a table. Pure.

All are HMACs, keyed with a shared secret; they differ in what is signed, in how the result is written, and in where.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field

from services.ingest.dialects.dialect import Call
from services.ingest.times import Unreadable, read
from shared.journey_map import Duration

MILLISECONDS: Final = 10_000_000_000  # a time of signing beyond this is in milliseconds, not seconds
Texts = Annotated[tuple[str, ...], Field(min_length=1)]

SCHEMES: Final[dict[str, dict[str, Any]]] = {
    "hmac": {},
    "stripe": {"header": "Stripe-Signature", "pairs": ("t", "v1"), "signs": ("stamp", ".", "body"), "tolerance": "5m"},
    "shopify": {"header": "X-Shopify-Hmac-Sha256", "encoding": "base64"},
    "github": {"header": "X-Hub-Signature-256", "prefix": "sha256="},
    "twilio": {
        "header": "X-Twilio-Signature", "algorithm": "sha1", "encoding": "base64", "signs": ("url", "form"),
    },
    "hubspot": {
        "header": "X-HubSpot-Signature-v3", "stamp": "X-HubSpot-Request-Timestamp", "encoding": "base64",
        "signs": ("method", "url", "body", "stamp"), "tolerance": "5m",
    },
    "zendesk": {
        "header": "X-Zendesk-Webhook-Signature", "stamp": "X-Zendesk-Webhook-Signature-Timestamp",
        "encoding": "base64", "signs": ("stamp", "body"),
    },
    "typeform": {"header": "Typeform-Signature", "encoding": "base64", "prefix": "sha256="},
    "intercom": {"header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="},
    "lob": {
        "header": "Lob-Signature", "stamp": "Lob-Signature-Timestamp", "signs": ("stamp", ".", "body"),
        "tolerance": "5m",
    },
    "aftership": {"header": "AfterShip-Hmac-Sha256", "encoding": "base64"},
}  # fmt: skip


class Signature(BaseModel):
    """How a source signs. ``signs`` lists what is signed, in order: `method`, `url`, `stamp`, `body`, `form` (the
    fields of a form, sorted, names and values without anything between them), or any other text as it stands.

    ``stamp``: the header with the time of signing (seconds or milliseconds since 1970, or ISO 8601); ``pairs``: the
    header is a list of `name=value`, and these are the names of the time and of the signatures. ``url`` is the address
    as the sender knows it: behind a proxy ours is another. Any of ``secrets`` will do, so that they can be changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str
    header: Annotated[str, Field(min_length=1)]
    secrets: Texts = Field(repr=False)
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    pairs: tuple[str, str] | None = None
    stamp: str | None = None
    signs: Texts = ("body",)
    tolerance: Duration | None = None
    url: str | None = None


def signature_of(given: Mapping[str, Any], environment: Mapping[str, str]) -> Signature:
    """What the configuration says, over what its scheme says; ValueError in a plain sentence."""
    scheme = given.get("scheme", "hmac")
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"signature: there is no scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    named = {key: value for key, value in given.items() if key not in ("secret", "secret_env")}
    secrets = _texts(given.get("secret")) or _from_environment(given, environment)
    signature = Signature(**{**SCHEMES[scheme], **named, "scheme": scheme, "secrets": secrets})
    if "url" in signature.signs and not signature.url:
        raise ValueError(f"signature: {scheme} signs the address that it posts to; say it, with https://, as `url`")
    return signature


def check(signature: Signature, call: Call, now: datetime) -> str | None:
    """What is wrong with the signature of a request, in a sentence; None if it is right."""
    given = _header(call, signature.header)
    if given is None:
        return f"the header {signature.header} is missing"
    stamp, candidates = _read(signature, given, call)
    if signature.tolerance is not None and not _is_fresh(stamp, now, signature.tolerance):
        return f"it was signed more than {signature.tolerance.total_seconds():.0f} seconds ago, or ahead"
    message = b"".join(_part(name, signature, call, stamp) for name in signature.signs)
    expected = [_signed(secret, message, signature) for secret in signature.secrets]
    if any(hmac.compare_digest(one, other) for one in expected for other in candidates):
        return None
    return f"{signature.header} is not the signature of this request with this secret"


def _texts(given: Any) -> tuple[str, ...]:
    texts = tuple(given) if isinstance(given, list) else () if given is None else (given,)
    if not all(isinstance(one, str) and one for one in texts):
        raise ValueError("signature: secret and secret_env are texts, or lists of texts")
    return texts


def _from_environment(given: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str, ...]:
    names = _texts(given.get("secret_env"))
    if not names:
        raise ValueError("signature: secret_env has to name the environment variable with the secret")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise ValueError(f"signature: the environment has no {', '.join(missing)}; that is where the secret should be")
    return tuple(environment[name] for name in names)


def _header(call: Call, name: str) -> bytes | None:
    return call.headers.get(name.lower().encode())


def _read(signature: Signature, given: bytes, call: Call) -> tuple[bytes, list[bytes]]:
    """The time of signing, as it was written, and the signatures."""
    stamp = _header(call, signature.stamp) if signature.stamp is not None else None
    if signature.pairs is None:
        prefix = signature.prefix.encode()
        return stamp or b"", [given.strip().removeprefix(prefix)] if given.startswith(prefix) else []
    of_stamp, of_signature = (name.encode() for name in signature.pairs)
    pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition(b"=") for part in given.split(b","))]
    stamp = next((value for name, value in pairs if name == of_stamp), b"")
    return stamp, [value for name, value in pairs if name == of_signature]


def _is_fresh(stamp: bytes, now: datetime, tolerance: timedelta) -> bool:
    text = stamp.decode("latin-1").strip()
    try:
        if text.isdecimal():
            seconds = int(text[:20])
            signed_at = datetime.fromtimestamp(seconds / 1000 if seconds > MILLISECONDS else seconds, UTC)
        else:
            signed_at = read(text)
        return abs(now - signed_at) <= tolerance
    except (Unreadable, OverflowError, ValueError, OSError):
        return False


def _form(body: bytes) -> bytes:
    fields = sorted(set(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))
    return "".join(name + value for name, value in fields).encode("utf-8", "replace")


def _part(name: str, signature: Signature, call: Call, stamp: bytes) -> bytes:
    match name:
        case "method":
            return call.method.encode()
        case "url":
            return (signature.url or "").encode()
        case "stamp":
            return stamp
        case "body":
            return call.body
        case "form":
            return _form(call.body)
    return name.encode()


def _signed(secret: str, message: bytes, signature: Signature) -> bytes:
    digest = hmac.new(secret.encode(), message, getattr(hashlib, signature.algorithm)).digest()
    return b64encode(digest) if signature.encoding == "base64" else digest.hex().encode()
