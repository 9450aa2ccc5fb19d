"""From a key to who sends with it: compared as hashes, never as texts."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TypeGuard

from services.ingest.dialects.raw import Parsed
from services.ingest.errors import Refusal
from services.ingest.policy import Policy
from services.ingest.rates import Bucket, bucket_of
from shared.keys import Source, hashed

_hashed = lru_cache(maxsize=4096)(hashed)


class Sender:
    """A source, how much it may still send, and what it wants done with its touchpoints."""

    __slots__ = ("any_origin", "bucket", "origins", "policy", "source")

    def __init__(self, source: Source, bucket: Bucket | None, policy: Policy) -> None:
        self.source, self.bucket, self.policy = source, bucket, policy
        self.origins = frozenset(origin.rstrip("/").lower() for origin in source.origins)
        self.any_origin = "*" in self.origins

    def takes_from(self, origin: str | None) -> bool:
        """Whether pages of this origin may send; what is no page (no origin) always may."""
        return self.any_origin or origin is None or origin.lower() in self.origins


class Senders:
    """All sources, found by write key, or by app id where clients have no key. What of its rate a source has used is
    taken over from the senders ``before``."""

    def __init__(
        self, sources: Iterable[Source], now: Callable[[], datetime], before: Senders | None = None,
        policy_of: Callable[[Source], Policy] = Policy,
    ) -> None:  # fmt: skip
        self._by_name = {one.name: Sender(one, _bucket(one, before), policy_of(one)) for one in sources}
        senders, self.names = self._by_name.values(), list(self._by_name)
        self._by_key = {key: sender for sender in senders for key in sender.source.keys}
        self._by_app = {app_id: sender for sender in senders for app_id in sender.source.app_ids}
        self._ends = {key: end for sender in senders for key, end in sender.source.ends.items()}
        self._now = now

    def named(self, name: str) -> Sender | None:
        """The sender of this name, if it is still configured."""
        return self._by_name.get(name)

    def of(self, headers: Mapping[bytes, bytes], query: Mapping[str, str], parsed: Parsed) -> Sender:
        """The sender of a request: the one that its dialect has made sure of, else by its key. Raises Refusal."""
        if parsed.source is None:
            return self.find(key_of(headers, query, parsed.write_key), parsed.app_id)
        sender = self.named(parsed.source)
        if sender is None:
            raise Refusal("key_unknown", "this source is no longer configured")
        return sender

    def find(self, key: str | None, app_id: object = None) -> Sender:
        """The sender whose key this is; without a key, the one whose app id. Raises Refusal."""
        if not key:
            return self._of_app(app_id)
        sender = self._by_key.get(found := _hashed(key))
        if sender is None:
            raise Refusal("key_unknown")
        if found in self._ends and self._now() >= self._ends[found]:
            raise Refusal("key_ended")
        return sender

    def _of_app(self, app_id: object) -> Sender:
        if not isinstance(app_id, str) or not app_id:
            raise Refusal("key_missing")
        sender = self._by_app.get(app_id)
        if sender is None:
            raise Refusal("key_unknown", f"no write key, and no source has {app_id[:100]!r} among its app_ids")
        return sender


def _bucket(source: Source, before: Senders | None) -> Bucket | None:
    old = before.named(source.name) if before is not None else None
    return old.bucket if old is not None and old.source.rate == source.rate else bucket_of(source.rate)


def key_of(headers: Mapping[bytes, bytes], query: Mapping[str, str], in_body: object) -> str | None:
    """The write key of a request: Basic user, Bearer, X-Write-Key, ?writeKey, body; masked ones (***) are none."""
    authorization = headers.get(b"authorization")
    if authorization is not None and _is_key(key := _authorized(authorization)):
        return key
    for found in (headers.get(b"x-write-key", b"").strip().decode("latin-1"), query.get("writeKey"), in_body):
        if _is_key(found):
            return found
    return None


def _is_key(found: object) -> TypeGuard[str]:
    return isinstance(found, str) and found != "" and "***" not in found


@lru_cache(maxsize=4096)
def _authorized(header: bytes) -> str | None:
    """The user of Basic, the token of Bearer."""
    scheme, _, credentials = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip().decode("latin-1")
    if scheme.lower() != b"basic":
        return None
    try:
        return b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except ValueError:
        return None
