"""Raw touchpoints: what every dialect turns a request into, before anything is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

FREE_DEPTH: Final = 8

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Scalar: Any = str | bool | Integer | float | None


def _free(depth: int) -> Any:
    """Free-form JSON whose integers have 64 bits and whose nesting ends: what decodes to it needs no cleaning."""
    value = Scalar
    for _ in range(depth):
        value = Scalar | list.__class_getitem__(value) | dict.__class_getitem__((str, value))
    return value


FreeObject: Any = dict.__class_getitem__((str, _free(FREE_DEPTH)))


class RawTouchpoint(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """One touchpoint as it was sent, names as in Segment's API. Everything may be missing, null or of a wrong type.

    ``unclean``: the strings may hold NUL and lone surrogates, the numbers may be too big or none; to be cleaned before
    they are kept. ``too_deep``: something in it was nested too deeply and has been cut off. ``type`` is the Rejection
    where the dialect itself finds it unusable.
    """

    type: Any = None
    event: Any = None
    name: Any = None
    message_id: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    previous_id: Any = None
    group_id: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    properties: Any = None
    traits: Any = None
    context: Any = None
    unclean: bool = msgspec.field(default=False, name="<unclean>")
    too_deep: bool = msgspec.field(default=False, name="<too deep>")


class Parsed(msgspec.Struct, frozen=True):
    """A request that could be read: its touchpoints in order (None where there is no object), what its envelope says
    (``sent_at``, ``write_key``, and ``app_id`` where clients have no key but the name of their application),
    ``original`` to look up the bytes of a touchpoint by its index, ``ids`` where the answer has to name all,
    ``source``, its name, where the dialect has made sure itself who sends, and ``shared`` where the envelope gives
    something to each touchpoint."""

    items: list[RawTouchpoint | None]
    sent_at: object
    write_key: object
    original: Callable[[int], bytes]
    app_id: object = None
    ids: tuple[str, ...] = ()
    source: str | None = None
    shared: object = None
