"""What a dialect is: how a request becomes raw touchpoints, and how its clients want to be answered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from services.ingest.dialects.raw import Parsed
from services.ingest.errors import MEDIA_TYPE, Refusal
from services.ingest.reasons import Rejection

JSON: Final = "application/json"
MAX_TOUCHPOINTS: Final = 2500
_ENCODE: Final = msgspec.json.Encoder().encode


class Call(Protocol):
    """An HTTP request as a dialect sees it: header names in lower case, the body decompressed."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...
    @property
    def body(self) -> bytes: ...


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request that was taken: how many touchpoints, which not (by their places), `Parsed.ids`."""

    accepted: int
    rejected: Sequence[tuple[int, Rejection]]
    ids: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What goes back. A status other than 200 has to be what the dialect's clients take well."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def told(outcome: Outcome) -> dict[str, object]:
    """How many were accepted, and what was rejected why, as every answer in our own words says it."""
    rejected = [
        {"index": index, "id": wrong.id, "reason": wrong.reason, "message": wrong.message}
        for index, wrong in outcome.rejected
    ]
    return {"accepted": outcome.accepted, "rejected": rejected}


def success(outcome: Outcome) -> Answer:
    """The native answer."""
    return _success(outcome) if outcome.rejected else _all_accepted(outcome.accepted)


@lru_cache(maxsize=MAX_TOUCHPOINTS)
def _all_accepted(n: int) -> Answer:
    return _success(Outcome(n, ()))


def _success(outcome: Outcome) -> Answer:
    return Answer(_ENCODE({"success": True, **told(outcome)}))


def problem(refusal: Refusal, status: int | None = None) -> Answer:
    """A refusal as RFC 9457 has it, with another status where a dialect's clients need one."""
    status = status or refusal.status
    body = _ENCODE({**refusal.problem(), "status": status})
    return Answer(body, MEDIA_TYPE.decode(), status, tuple(refusal.headers))


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to send. ``parse`` raises Refusal for a body that cannot be used; ``answer`` and ``refuse`` give what this
    dialect's clients neither lose touchpoints over nor send again for ever. ``again`` reads a body that is what
    `Parsed.original` gave, with `Parsed.shared`; None where ``parse`` can."""

    name: str
    parse: Callable[[Call], Parsed]
    answer: Callable[[Outcome], Answer] = success
    refuse: Callable[[Refusal], Answer] = problem
    methods: frozenset[str] = frozenset(("POST",))
    max_touchpoints: int = MAX_TOUCHPOINTS
    again: Callable[[Call, Any], Parsed] | None = None
