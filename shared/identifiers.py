"""Identifiers: kinds and their ranks, placeholders, and the id that an identifier and its profile share."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Final
from uuid import UUID

import yaml
from asyncpg.pgproto.pgproto import UUID as FastUUID  # equal to uuid.UUID, compared and hashed in C

NAMESPACE: Final = UUID("6a1f6d1e-6f0b-5d0c-9a53-7b8f3f0f5c11").bytes
PLACEHOLDERS: Final = frozenset(
    ("", "null", "undefined", "none", "nil", "nan", "anonymous", "guest", "unknown", "0", "-1", "true", "false",
     "[object object]")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """`identity.yaml`: ``kinds`` from the highest rank to the lowest, ``user_id`` first; an identifier that links to
    more than ``shared_above`` different higher ones is shared; ``placeholders`` are no identifiers (lower case)."""

    kinds: tuple[str, ...] = ("user_id", "email", "phone", "card", "device_id", "anonymous_id")
    shared_above: int = 5
    placeholders: frozenset[str] = PLACEHOLDERS

    def rank(self, kind: str) -> int:
        """0 is the highest; ValueError for an unknown kind."""
        return self.kinds.index(kind)

    def highest(self, ids: dict[str, str]) -> tuple[str, str]:
        """The highest of a touchpoint's identifiers as (kind, value); ValueError if it has none of a known kind."""
        for kind in self.kinds:
            if kind in ids:
                return kind, ids[kind]
        raise ValueError("no identifier of a known kind")

    def is_placeholder(self, value: str) -> bool:
        """Whether a value stands for nobody (design.md section 5, rule 7)."""
        bare = value.strip().lower()
        return bare in self.placeholders or not bare.strip("0-")


def load_identity(config: Path) -> IdentityRules:
    """The rules of ``identity.yaml`` in the configuration folder, or the defaults. ValueError says what is wrong."""
    path = config / "identity.yaml"
    if not path.exists():
        return IdentityRules()
    given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    unknown = set(given) - {"kinds", "shared_above", "placeholders"}
    if unknown:
        raise ValueError(
            f"{path}: unknown key {', '.join(sorted(unknown))}; known are kinds, shared_above, placeholders"
        )
    default = IdentityRules()
    kinds = tuple(given.get("kinds", default.kinds))
    if not kinds or kinds[0] != "user_id" or len(set(kinds)) != len(kinds):
        raise ValueError(f"{path}: kinds must start with user_id and name each kind once")
    placeholders = frozenset(str(p).strip().lower() for p in given.get("placeholders", ())) | PLACEHOLDERS
    return IdentityRules(kinds, int(given.get("shared_above", default.shared_above)), placeholders)


def key(kind: str, value: str) -> str:
    """The one-string form of an identifier, ``kind:value``: log key, path segment, input of the id."""
    return f"{kind}:{value}"


def uid(key: str) -> UUID:
    """The id of an identifier (``kind:value``), and of the profile whose root it is: the same for ever."""
    return named(key)


def named(name: str) -> UUID:
    """A UUID of version 5 (RFC 9562) in our namespace: the same name, the same UUID."""
    digest = bytearray(sha1(NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    found: UUID = FastUUID(bytes(digest))
    return found


def normalise(kind: str, value: str) -> str:
    """A value as it is kept: emails lower-cased, phones digits and a leading ``+`` only, all trimmed and NFC."""
    bare = value.strip()
    if kind == "email":
        bare = bare.lower()
    elif kind == "phone":
        bare = ("+" if bare.startswith("+") else "") + re.sub(r"[^0-9]", "", bare)
    return unicodedata.normalize("NFC", bare)
