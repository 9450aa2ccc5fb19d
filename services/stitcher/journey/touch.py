"""A touchpoint as the core sees it: what rules need at hand, the free-form parts decoded when asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

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
    properties: msgspec.Raw = _EMPTY
    traits: msgspec.Raw = _EMPTY
    context: msgspec.Raw = _EMPTY


_wire = msgspec.json.Decoder(_Wire)
_command = msgspec.json.Decoder(Command)
_object = msgspec.json.Decoder(dict[str, Any])


class Undecodable(ValueError):
    """The record is neither a touchpoint nor a command."""


class Touch(msgspec.Struct, gc=False, eq=False):
    """One touchpoint. ``key`` is its highest identifier, ``data`` its bytes on the log; times in microseconds.
    ``carries_traits``: it is an `identify` that says something about the customer."""

    key: str
    id: str
    time: int
    received_at: int
    ids: dict[str, str]
    carries_traits: bool
    data: bytes
    _wire: _Wire
    _parts: dict[str, Any] | None = None

    @property
    def type(self) -> str:
        return self._wire.type

    @property
    def event(self) -> str | None:
        return self._wire.event

    @property
    def channel(self) -> str:
        return self._wire.channel

    @property
    def acquisition(self) -> str | None:
        return self._wire.acquisition

    @property
    def source(self) -> str:
        return self._wire.source

    @property
    def signature(self) -> Signature:
        """What the rules of a map look at first."""
        wire = self._wire
        return wire.type, wire.event, wire.channel, wire.acquisition, wire.source

    @property
    def previous_id(self) -> str | None:
        return self._wire.previous_id

    @property
    def has_own_time(self) -> bool:
        """Whether ingest left its time as the client said it."""
        return not self._wire.flags

    @property
    def is_bots(self) -> bool:
        """Whether no person did it."""
        return BOT in self._wire.flags

    @property
    def traits(self) -> dict[str, Any]:
        return _object.decode(self._wire.traits)

    @property
    def parts(self) -> dict[str, Any]:
        """The touchpoint as a document that dotted paths walk through."""
        if self._parts is None:
            wire = self._wire
            self._parts = {
                "id": wire.id, "type": wire.type, "event": wire.event, "source": wire.source, "channel": wire.channel,
                "acquisition": wire.acquisition, "ids": wire.ids, "properties": _object.decode(wire.properties),
                "traits": _object.decode(wire.traits), "context": _object.decode(wire.context),
            }  # fmt: skip
        return self._parts


def decode_touch(data: bytes, rules: IdentityRules) -> Touch:
    """A touchpoint from its bytes; Undecodable if they are none."""
    try:
        wire = _wire.decode(data)
        kind, value = rules.highest(wire.ids)
        speaks = wire.type == "identify" and len(wire.traits) > 2
        return Touch(
            f"{kind}:{value}", wire.id, micros(wire.time), micros(wire.received_at), wire.ids, speaks, data, wire
        )
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise Undecodable(str(error)) from error


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
