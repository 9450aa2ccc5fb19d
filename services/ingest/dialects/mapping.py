"""What a mapping of webhooks says, checked: which part of a body becomes what part of a touchpoint. Pure.

`event`, `type`, `channel` and `acquisition` are words as they stand; all else is JMESPath. Where either does not do,
`{of: expression, as: {found: meant}, else: otherwise}` looks the found up in a table.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from services.ingest.accept import TYPES
from services.ingest.dialects.expressions import Constant, Value, expression, word
from shared.touchpoint import CHANNELS

_MERGED: Final = ("ids", "properties", "traits", "context", "signature")
_ALONE: Final = ("each", "events", "signature", "answer")  # what an alternative of `events` neither says nor inherits


def _members(given: Any) -> Any:
    """An object: its members one by one, or an expression that gives all of it."""
    if not isinstance(given, dict):
        return expression(given)
    return {str(name): expression(value) for name, value in given.items()}


Word = Annotated[Value, PlainValidator(word)]
Expression = Annotated[Value, PlainValidator(expression)]
Members = Annotated[dict[str, Value] | Value, PlainValidator(_members)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Rule(_Strict):
    """How one item of a body becomes a touchpoint. ``skip``: it becomes none. ``event`` is the name of a page or screen
    too. An item whose ``id`` gives nothing is named by a hash of the body and its place in it."""

    when: Expression | None = None
    skip: bool = False
    type: Word = Constant("track")
    event: Word | None = None
    time: Expression | None = None
    id: Expression | None = None
    channel: Word | None = None
    acquisition: Word | None = None
    ids: Annotated[dict[str, Value], PlainValidator(_members)] = {}
    group: Expression | None = None
    previous: Expression | None = None
    properties: Members = {}
    traits: Members = {}
    context: Members = {}

    @model_validator(mode="after")
    def _says_what_can_be(self) -> Self:
        kind, channel = self.type, self.channel
        if not isinstance(self.ids, dict):
            raise ValueError("ids names an expression for each kind of identifier")
        if isinstance(kind, Constant) and kind.value not in sorted(TYPES):
            raise ValueError(f"{kind.value!r} is no type; types are {', '.join(sorted(TYPES))}")
        if isinstance(channel, Constant) and channel.value not in CHANNELS:
            raise ValueError(f"{channel.value!r} is no channel; channels are {', '.join(CHANNELS)}")
        if kind == Constant("track") and self.event is None and not self.skip:
            raise ValueError("a track needs an event")
        return self


class Reply(_Strict):
    """What the sender wants to read, where it reads the answer at all."""

    type: str = "application/json"
    body: str


class Mapping(_Strict):
    """``each``: the expression that gives the items of a body; without it, a list is many items and anything else one.

    ``rules``: of several the first whose ``when`` holds is taken for an item, and an item that none holds for is
    rejected as `unmapped`: it is answered with 200, so that nobody sends it again, counted, and kept.
    """

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    each: Expression | None = None
    answer: Reply | None = None


def mapping_of(written: dict[str, Any]) -> Mapping:
    """A mapping as it stands in a file: each alternative of ``events`` has what the mapping says, unless it says
    something else. ValueError in a plain sentence."""
    alternatives = written.get("events")
    common = {key: value for key, value in written.items() if key not in _ALONE}
    if alternatives is None:
        rules = [common]
    elif isinstance(alternatives, list) and all(isinstance(one, dict) for one in alternatives):
        rules = [merged(common, one) for one in alternatives]
    else:
        raise ValueError("events: a list of alternatives is wanted")
    whole = {key: written[key] for key in ("each", "answer") if key in written}
    try:
        return Mapping(rules=tuple(Rule(**rule) for rule in rules), **whole)
    except ValidationError as error:
        raise ValueError("; ".join(map(_sentence, error.errors()))) from error


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """What ``over`` says, else what ``base`` says; identifiers, properties, traits, context, signature one by one."""
    both = {
        key: {**base[key], **over[key]}
        for key in _MERGED
        if isinstance(base.get(key), dict) and isinstance(over.get(key), dict)
    }
    return {**base, **over, **both}


def kinds_of(mapping: Mapping) -> set[str]:
    """The kinds of identifiers that a mapping names."""
    return {kind for rule in mapping.rules for kind in rule.ids}


def _sentence(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{where} is no key of a mapping"
    what = error["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
