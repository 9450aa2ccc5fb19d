"""Identity: links and the ladder. Which profile a touchpoint belongs to, as a function of the set of touchpoints."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from shared.identifiers import IdentityRules
from shared.touchpoint import HOUR


class Span(msgspec.Struct, frozen=True, gc=False):
    """Evidence summed up: its first and last moment and the touchpoints that say so (of equal times the smaller id)."""

    earliest: int
    earliest_id: str
    latest: int
    latest_id: str

    @classmethod
    def at(cls, time: int, touchpoint_id: str) -> Span:
        """The evidence of one touchpoint."""
        return cls(time, touchpoint_id, time, touchpoint_id)

    def merged(self, other: Span) -> Span:
        """Both pieces of evidence as one."""
        first, last = self, self
        if (other.earliest, other.earliest_id) < (self.earliest, self.earliest_id):
            first = other
        if (-other.latest, other.latest_id) < (-self.latest, self.latest_id):
            last = other
        if first is last:
            return first
        return Span(first.earliest, first.earliest_id, last.latest, last.latest_id)


class Link(msgspec.Struct, frozen=True, gc=False):
    """A row of `links`."""

    lower: str
    higher: str
    span: Span
    revoked: bool


class Alias(msgspec.Struct, frozen=True, gc=False):
    """A row of `aliases`; a < b."""

    a: str
    b: str
    time: int
    touchpoint_id: str
    revoked: bool


FOREVER: Final = 2**62
Pair = tuple[str, str]  # (lower, higher)
Point = tuple[int, str]  # (time, higher identifier)


class Ladder:
    """The evidence that counts, ready to be climbed. Built from active (not revoked) evidence only.

    ``targets``: lower -> its different higher identifiers; ``points``: lower -> [(time, higher)], needed only where
    there are several targets; ``names``: user id -> the smallest of its alias group; ``shared``: identifiers that
    stand for several customers, so that climbing stops at them.
    """

    __slots__ = ("_names", "_points", "_targets", "shared")

    def __init__(
        self,
        rules: IdentityRules,
        targets: Mapping[str, frozenset[str] | set[str]],
        points: Mapping[str, Iterable[Point]],
        names: Mapping[str, str],
        shared: AbstractSet[str],
    ) -> None:
        self._targets, self._names, self.shared = targets, names, shared
        self._points = {lower: _steps(given, rules) for lower, given in points.items()}

    def climb(self, key: str, time: int) -> str:
        """The root identifier that ``key`` resolves to at an instant (design.md section 5, rule 2)."""
        while (higher := self._next(key, time)) is not None:
            key = higher
        return self._names.get(key, key)

    def below(self, roots: Iterable[str], among: Container[str]) -> dict[str, list[str]]:
        """Each root's identifiers, of those ``among``: all that resolve to it, or pass it, at one time or another."""
        lowers: defaultdict[str, list[str]] = defaultdict(list)
        for lower, highers in self._targets.items():
            if lower not in self.shared:
                for higher in highers:
                    lowers[higher].append(lower)
        members: defaultdict[str, list[str]] = defaultdict(list)
        for user, name in self._names.items():
            members[name].append(user)
        found = {}
        for root in roots:
            met: set[str] = set()
            todo = [root, *members.get(root, ())]
            while todo:
                if (one := todo.pop()) not in met:
                    met.add(one)
                    todo.extend(lowers.get(one, ()))
            found[root] = [one for one in met if one in among]
        return found

    def _next(self, key: str, time: int) -> str | None:
        targets = self._targets.get(key)
        if not targets or key in self.shared:
            return None
        if len(targets) == 1:
            return next(iter(targets))
        times, highers = self._points[key]
        return highers[max(0, bisect_right(times, time) - 1)]


def _steps(points: Iterable[Point], rules: IdentityRules) -> tuple[list[int], list[str]]:
    """Evidence as a step function: of several higher ones at a time the higher kind, then the smaller value."""
    best: dict[int, tuple[int, str, str]] = {}
    for time, higher in points:
        kind, _, value = higher.partition(":")
        claim = (rules.rank(kind), value, higher)
        if time not in best or claim < best[time]:
            best[time] = claim
    times = sorted(best)
    return times, [best[time][2] for time in times]


def group_names(aliases: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each aliased user id -> the smallest of its group."""
    leader: dict[str, str] = {}

    def find(one: str) -> str:
        while leader.setdefault(one, one) != one:
            leader[one] = one = leader[leader[one]]
        return one

    for a, b in aliases:
        first, second = sorted((find(a), find(b)))
        leader[second] = first
    return {one: find(one) for one in list(leader)}


def pairs_of(ids: Mapping[str, str], rules: IdentityRules) -> list[Pair]:
    """The links that a touchpoint's identifiers are evidence for: each lower one to the highest."""
    if len(ids) < 2:
        return []
    known = [f"{kind}:{ids[kind]}" for kind in rules.kinds if kind in ids]
    return [(lower, known[0]) for lower in known[1:]]


def hour_of(time: int) -> int:
    """The UTC hour that evidence is kept by, as the instant it begins."""
    return time - time % HOUR
