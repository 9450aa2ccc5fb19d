"""Cursors: where the next page begins, as an opaque string."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Name = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"\A[^\x00]*\Z")]


class JourneyCursor(msgspec.Struct, array_like=True, frozen=True, tag="journey"):
    """Below this journey."""

    started_at: _Int64
    journey_id: UUID


class TouchpointCursor(msgspec.Struct, array_like=True, frozen=True, tag="touchpoint"):
    """Below this touchpoint."""

    time: _Int64
    id: _Name
    identifier: UUID


class LinkCursor(msgspec.Struct, array_like=True, frozen=True, tag="link"):
    """Above this link."""

    earliest: _Int64
    kind: _Name
    one: UUID
    two: UUID


class MapCursor(msgspec.Struct, array_like=True, frozen=True, tag="map"):
    """Above this map."""

    name: _Name


class LetterCursor(msgspec.Struct, array_like=True, frozen=True, tag="letter"):
    """Below this dead letter."""

    id: _Int64


C = TypeVar("C", JourneyCursor, TouchpointCursor, LinkCursor, MapCursor, LetterCursor)


def encode(cursor: msgspec.Struct) -> str:
    """The opaque form: letters, digits, ``-`` and ``_`` only."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode(kind: type[C], text: str) -> C:
    """The cursor of this kind; ValueError if the text is none."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise ValueError("not a cursor of this list; use next_cursor of its last page as it is") from error
