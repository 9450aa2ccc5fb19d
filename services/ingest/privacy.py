"""What of a touchpoint is never written down: addresses cut short, fields taken out or hashed before the log. Pure.

A rule's path begins with `properties`, `traits`, `context` or `ids`. A hash is HMAC-SHA-256 with the operator's key:
equal values stay equal, nobody without the key can try values out, and what is hashed already stays as it is.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import msgspec

from services.ingest.paths import Path, changed, split, without
from shared.keys import Privacy

LONGEST: Final = 64  # characters that an IP address may have, its zone and blanks around it counted
MARK: Final = "hmac-sha256:"
_ENCODE: Final = msgspec.json.Encoder(order="deterministic").encode
_HASHED: Final = re.compile(MARK + "[0-9a-f]{64}")
_COPIES: Final = ("traits.{0}", "context.traits.{0}", "context.ids.{0}")  # where an identifier is said besides `ids`


class Document(Protocol):
    """What is covered: a touchpoint on its way through the checks."""

    ids: dict[str, str]
    previous_id: str | None
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]


def truncated(address: str) -> str | None:
    """An IP address without its last part: /24 of IPv4, /48 of IPv6; None for what is none."""
    return _truncated(address) if len(address) <= LONGEST else None


@lru_cache(maxsize=16384)
def _truncated(address: str) -> str | None:
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    bits = 8 if ip.version == 4 else 80
    return str(type(ip)((int(ip) >> bits) << bits))


def hashed(key: bytes, value: Any) -> Any:
    """The keyed hash of a value: of a text its UTF-8, of anything else its JSON; nothing stays nothing."""
    if value is None or (type(value) is str and _HASHED.fullmatch(value)):
        return value
    return MARK + hmac.digest(key, value.encode() if type(value) is str else _ENCODE(value), "sha256").hex()


class Cover:
    """The privacy rules of one source. ``key`` is that of the hashes."""

    __slots__ = ("_hash", "_rules", "has_rules", "ip")

    def __init__(self, rules: Privacy, key: bytes) -> None:
        self.ip = rules.ip
        self._hash = partial(hashed, key)
        self._rules = [(split(path), False) for path in rules.drop] + [(split(path), True) for path in rules.hash]
        self.has_rules = bool(self._rules)

    def address(self, context: dict[str, Any]) -> None:
        """Cuts the address short, or takes it out, in place: to be done to a context that has one and is nobody else's,
        or where it may be done twice."""
        address = context["ip"]
        short = truncated(address) if self.ip == "truncate" and type(address) is str else None
        if short is None:
            del context["ip"]
        else:
            context["ip"] = short

    def fields(self, document: Document) -> None:
        """Drops and hashes; what the document holds is replaced, never changed in place."""
        for path, keep in self._rules:
            if path[0] == "ids":
                self._cover_identifier(document, path[1], keep)
            else:
                self._cover(document, path, keep)

    def _cover(self, document: Document, path: Path, keep: bool) -> None:
        part, inner = path[0], path[1:]
        before = getattr(document, part)
        setattr(document, part, changed(before, inner, self._hash) if keep else without(before, inner))

    def _cover_identifier(self, document: Document, kind: str, keep: bool) -> None:
        """An identifier in `ids`; what else in the touchpoint says it is taken out."""
        if _is_listed(document, kind):
            document.context = without(document.context, ("externalIds",))
        for copy in _COPIES:
            self._cover(document, split(copy.format(kind)), False)
        if kind in document.ids:
            others = {other: value for other, value in document.ids.items() if other != kind}
            document.ids = {**others, kind: self._hash(document.ids[kind])} if keep else others
        if kind == "user_id" and document.previous_id is not None:
            document.previous_id = self._hash(document.previous_id) if keep else None

    def identifier(self, kind: str, value: Any) -> Any:
        """An identifier as it was sent, covered."""
        for path, keep in self._rules:
            if path == ("ids", kind):
                value = self._hash(value.strip() if type(value) is str else value) if keep else None
        return value


def _is_listed(document: Document, kind: str) -> bool:
    """Whether the external ids of a touchpoint name one of this kind, or what they name cannot be told."""
    listed = document.context.get("externalIds")
    entries: Iterable[Any] = listed if type(listed) is list else ()
    return any(type(entry) is not dict or entry.get("type") == kind for entry in entries)
