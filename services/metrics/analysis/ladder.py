"""The ladder read backwards: which touchpoints belong to a profile, and the chain of links that says so.

The rules are design.md section 5: take the latest evidence at or before the touchpoint, else the earliest after it; of
several at one time the higher kind, then the smaller value; climb on from there; aliased users share a name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.identifiers import IdentityRules

EVER: Final = -(2**63)
FOREVER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """A touchpoint said at ``time`` that ``lower`` belongs to ``higher`` (both ``kind:value``)."""

    lower: str
    higher: str
    time: int
    touchpoint_id: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A touchpoint said at ``time`` that two user ids are one customer."""

    a: str
    b: str
    time: int
    touchpoint_id: str


Hop = Evidence | Joined


class Ladder:
    """Evidence that counts (nothing revoked, nothing of shared identifiers), ready to be climbed and read backwards."""

    def __init__(self, rules: IdentityRules, evidence: Iterable[Evidence], aliases: Iterable[Joined]) -> None:
        self._claims = _by_time(rules, evidence)
        self._neighbours = _neighbours(aliases)
        self._names: dict[str, str] = {}

    def climb(self, key: str, time: int) -> str:
        """The root identifier of ``key`` at an instant."""
        while (claim := self._claim(key, time)) is not None:
            key = claim.higher
        return self._name(key)

    def chain(self, key: str, time: int) -> list[Hop]:
        """The evidence, hop by hop, from ``key`` to its root at an instant; nothing if it is its own root."""
        hops: list[Hop] = []
        while (claim := self._claim(key, time)) is not None:
            hops.append(claim)
            key = claim.higher
        return hops + self._alias_path(key, self._name(key))

    def owned(self, key: str, root: str) -> list[tuple[int, int]]:
        """When ``key`` climbs to ``root``: half-open spans of time, apart and in order."""
        steps = self._steps(key, EVER, FOREVER)
        spans: list[tuple[int, int]] = []
        for number, (since, found) in enumerate(steps):
            until = steps[number + 1][0] if number + 1 < len(steps) else FOREVER
            if found != root:
                continue
            if spans and spans[-1][1] == since:
                spans[-1] = (spans[-1][0], until)
            else:
                spans.append((since, until))
        return spans

    def _claim(self, key: str, time: int) -> Evidence | None:
        claims = self._claims.get(key)
        if not claims:
            return None
        return claims[max(0, bisect_right(claims, time, key=lambda claim: claim.time) - 1)]

    def _steps(self, key: str, since: int, until: int) -> list[tuple[int, str]]:
        """The roots of ``key`` from ``since`` to ``until``, each with the instant from which it holds."""
        claims = self._claims.get(key)
        if not claims:
            return [(since, self._name(key))]
        steps: list[tuple[int, str]] = []
        for number, claim in enumerate(claims):
            first = since if number == 0 else max(since, claim.time)
            last = until if number + 1 == len(claims) else min(until, claims[number + 1].time)
            if first < last:
                steps += self._steps(claim.higher, first, last)
        return steps

    def _name(self, key: str) -> str:
        if key not in self._names:
            group = _connected(key, self._neighbours)
            self._names |= dict.fromkeys(group, min(group))
        return self._names[key]

    def _alias_path(self, key: str, name: str) -> list[Hop]:
        """The aliases that lead from a user id to the name of its group, as few as there can be."""
        came_by: dict[str, tuple[str, Joined]] = {}
        todo = deque([key])
        while todo and name != key and name not in came_by:
            one = todo.popleft()
            for other, alias in self._neighbours.get(one, ()):
                if other not in came_by and other != key:
                    came_by[other] = (one, alias)
                    todo.append(other)
        path: list[Hop] = []
        while name != key:
            name, alias = came_by[name]
            path.append(alias)
        return path[::-1]


def _by_time(rules: IdentityRules, evidence: Iterable[Evidence]) -> dict[str, list[Evidence]]:
    """For each lower identifier the evidence that wins at each instant, in order of time."""
    best: dict[str, dict[int, tuple[tuple[int, str, str], Evidence]]] = {}
    for one in evidence:
        kind, _, value = one.higher.partition(":")
        claim = (rules.rank(kind), value, one.touchpoint_id)
        at = best.setdefault(one.lower, {})
        if one.time not in at or claim < at[one.time][0]:
            at[one.time] = (claim, one)
    return {lower: [at[time][1] for time in sorted(at)] for lower, at in best.items()}


def _neighbours(aliases: Iterable[Joined]) -> dict[str, list[tuple[str, Joined]]]:
    found: dict[str, list[tuple[str, Joined]]] = {}
    for alias in aliases:
        found.setdefault(alias.a, []).append((alias.b, alias))
        found.setdefault(alias.b, []).append((alias.a, alias))
    return found


def _connected(key: str, neighbours: Mapping[str, list[tuple[str, Joined]]]) -> set[str]:
    group, todo = {key}, [key]
    while todo:
        for other, _ in neighbours.get(todo.pop(), ()):
            if other not in group:
                group.add(other)
                todo.append(other)
    return group
