"""Records of the log -> one batch: touchpoints each once, the evidence they are, the commands among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.stitcher.journey.identity import Alias, Span, hour_of
from services.stitcher.journey.touch import Touch, decode
from shared.identifiers import IdentityRules, key
from shared.touchpoint import Revocation, Withdrawal


@dataclass(slots=True)
class Batch:
    """What some records say together, whatever their order. ``received`` counts all touchpoints, copies too, but for
    those of ``bots``, which say nothing."""

    received: int = 0
    bots: int = 0
    touches: dict[tuple[str, str], Touch] = field(default_factory=dict)  # by (highest identifier, id)
    hours: dict[tuple[str, str, int], Span] = field(default_factory=dict)  # evidence by (lower, higher, UTC hour)
    aliases: dict[tuple[str, str], Alias] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    pairs: dict[tuple[str, str], Span] = field(default_factory=dict)  # evidence by (lower, higher)


def gather(records: Iterable[bytes], rules: IdentityRules) -> Batch:
    """A batch from the records' bytes; `touch.Undecodable` on the first that is none of ours."""
    batch = Batch()
    for data in records:
        record = decode(data, rules)
        if isinstance(record, Touch) and record.is_bots:
            batch.bots += 1
        elif isinstance(record, Touch):
            _add(batch, record)
        elif isinstance(record, Revocation):
            batch.revocations.append(record)
            batch.keys.update(pair_of(record))
        else:
            batch.withdrawals.append(record)
    batch.pairs = _pairs(batch.hours)
    return batch


def _pairs(hours: Mapping[tuple[str, str, int], Span]) -> dict[tuple[str, str], Span]:
    found: dict[tuple[str, str], Span] = {}
    for (lower, higher, _), span in hours.items():
        known = found.get((lower, higher))
        found[lower, higher] = span if known is None else known.merged(span)
    return found


def pair_of(revocation: Revocation) -> tuple[str, str]:
    """The (lower, higher) that a revocation names; of an alias the two user ids, the smaller first."""
    if revocation.alias is not None:
        a, b = sorted(key("user_id", value) for value in revocation.alias)
        return a, b
    return revocation.lower or "", revocation.higher or ""


def first_received(one: Touch, other: Touch) -> Touch:
    """Of two copies of a touchpoint the one that counts: received first, ties by the smaller encoding."""
    return min(one, other, key=lambda touch: (touch.received_at, touch.data))


def _add(batch: Batch, touch: Touch) -> None:
    batch.received += 1
    name = (touch.key, touch.id)
    known = batch.touches.get(name)
    batch.touches[name] = touch if known is None else first_received(known, touch)
    batch.keys.add(touch.key)
    for lower, higher in touch.pairs:
        _witness(batch, lower, higher, touch)
    if touch.previous_id is not None:
        _alias(batch, touch, touch.previous_id)


def _alias(batch: Batch, touch: Touch, previous: str) -> None:
    """An alias joins two user ids, and is evidence for the anonymous id of the same value (design.md section 5)."""
    user = touch.key
    _witness(batch, key("anonymous_id", previous), user, touch)
    a, b = sorted((key("user_id", previous), user))
    if a == b:
        return
    batch.keys |= {a, b}
    alias = Alias(a, b, touch.time, touch.id, False)
    known = batch.aliases.get((a, b))
    if known is None or (alias.time, alias.touchpoint_id) < (known.time, known.touchpoint_id):
        batch.aliases[a, b] = alias


def _witness(batch: Batch, lower: str, higher: str, touch: Touch) -> None:
    batch.keys.add(lower)
    batch.keys.add(higher)
    name = (lower, higher, hour_of(touch.time))
    span = Span.at(touch.time, touch.id)
    known = batch.hours.get(name)
    batch.hours[name] = span if known is None else known.merged(span)
