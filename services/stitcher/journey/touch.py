"""A touchpoint as the core sees it: what every touchpoint needs at hand, the rest decoded when a rule asks for it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from services.stitcher.journey.identity import Pair, pairs_of
from shared.identifiers import IdentityRules
from shared.touchpoint import BOT, Command, Revocation, Withdrawal, micros

_EMPTY = msgspec.Raw(b"{}")
Signature = tuple[str, str | None, str, str | None, str]  # type, event, channel, acquisition, source


class _Wire(msgspec.Struct, gc=False):
    id: str
    type: str
    time: datetime
    received_at: datetime
    source: str
    channel: str
    ids: dict[str, str]
    event: str | None = None
    acquisition: str | None = None
    previous_id: str | None = None
    flags: tuple[str, ...] = ()
    traits: msgspec.Raw = _EMPTY


class _Rest(msgspec.Struct, gc=False):
    """What only some rules look at."""

    ids: dict[str, str]
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


_wire = msgspec.json.Decoder(_Wire)
_rest = msgspec.json.Decoder(_Rest)
_command = msgspec.json.Decoder(Command)


class Undecodable(ValueError):
    """The record is neither a touchpoint nor a command."""


class Touch(msgspec.Struct, gc=False, eq=False):
    """One touchpoint. ``key`` is its highest identifier, ``data`` its bytes on the log; times in microseconds.

    ``signature`` is what the rules of a map look at first, ``pairs`` the links it is evidence for. ``carries_traits``:
    it is an `identify` that says something about the customer; ``has_own_time``: ingest left its time as the client
    said it; ``is_bots``: no person did it. A batch holds tens of thousands and goes through them again and again, so
    they are small, and a signature, which many have in common, is there once.
    """

    key: str
    id: str
    time: int
    received_at: int
    signature: Signature
    pairs: tuple[Pair, ...]
    previous_id: str | None
    carries_traits: bool
    has_own_time: bool
    is_bots: bool
    data: bytes
    _document: dict[str, Any] | None = None

    @property
    def type(self) -> str:
        return self.signature[0]

    @property
    def channel(self) -> str:
        return self.signature[2]

    @property
    def acquisition(self) -> str | None:
        return self.signature[3]

    @property
    def source(self) -> str:
        return self.signature[4]

    @property
    def traits(self) -> dict[str, Any]:
        return _rest.decode(self.data).traits

    @property
    def document(self) -> dict[str, Any]:
        """The touchpoint as a document that dotted paths walk through."""
        if self._document is None:
            rest = _rest.decode(self.data)
            type_, event, channel, acquisition, source = self.signature
            self._document = {
                "id": self.id, "type": type_, "event": event, "source": source, "channel": channel,
                "acquisition": acquisition, "ids": rest.ids, "properties": rest.properties, "traits": rest.traits,
                "context": rest.context,
            }  # fmt: skip
        return self._document


def decode_touch(data: bytes, rules: IdentityRules) -> Touch:
    """A touchpoint from its bytes; Undecodable if they are none."""
    try:
        wire = _wire.decode(data)
        kind, value = rules.highest(wire.ids)
        if wire.type == "alias" and wire.previous_id is not None and kind != "user_id":
            raise Undecodable("an alias without a user_id")
        return Touch(
            f"{kind}:{value}", wire.id, micros(wire.time), micros(wire.received_at),
            _signature(wire.type, wire.event, wire.channel, wire.acquisition, wire.source),
            tuple(pairs_of(wire.ids, rules)) if len(wire.ids) > 1 else (),
            wire.previous_id if wire.type == "alias" else None,
            wire.type == "identify" and len(wire.traits) > 2, not wire.flags, BOT in wire.flags, data,
        )  # fmt: skip
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise Undecodable(str(error)) from error


@lru_cache(maxsize=50_000)
def _signature(type_: str, event: str | None, channel: str, acquisition: str | None, source: str) -> Signature:
    """The one object that all who say the same share."""
    return type_, event, channel, acquisition, source


def by_time(touch: Touch) -> tuple[int, str, str]:
    """Sorts touchpoints where no map has a say: by time, id, identifier."""
    return touch.time, touch.id, touch.key


def decode(data: bytes, rules: IdentityRules) -> Touch | Revocation | Withdrawal:
    """A record of the log; Undecodable if it is neither a touchpoint nor a command."""
    if data.startswith(b'{"command"'):
        try:
            command: Revocation | Withdrawal = _command.decode(data)
            return command
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise Undecodable(str(error)) from error
    return decode_touch(data, rules)


def dig(document: Any, path: str) -> Any:
    """What lies at a dotted path, MISSING if nothing does. A key with dots in it is found as well."""
    node = document
    if isinstance(node, dict) and path in node:
        return node[path]
    head, _, rest = path.partition(".")
    if not rest or not isinstance(node, dict) or head not in node:
        return MISSING
    return dig(node[head], rest)


MISSING: Any = object()
