"""What is known of links, before and after a batch: two ladders, and which identifiers now climb elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.stitcher.journey.identity import Alias, Ladder, Link, Pair, Point, Span, group_names
from shared.identifiers import IdentityRules

HourKey = tuple[str, str, int]


@dataclass(slots=True)
class Evidence:
    """A set of evidence that can be added to. ``degrees`` count different active higher identifiers of a lower, also
    of those whose links were not loaded."""

    links: dict[Pair, Link] = field(default_factory=dict)
    hours: dict[HourKey, Span] = field(default_factory=dict)
    aliases: dict[Pair, Alias] = field(default_factory=dict)
    degrees: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Evidence:
        return Evidence(dict(self.links), dict(self.hours), dict(self.aliases), dict(self.degrees))

    def targets(self) -> dict[str, set[str]]:
        """Each lower's active higher identifiers, as far as loaded."""
        found: dict[str, set[str]] = defaultdict(set)
        for lower, higher in (pair for pair, link in self.links.items() if not link.revoked):
            found[lower].add(higher)
        return found

    def names(self) -> dict[str, str]:
        """Each aliased user id -> its group's name."""
        return group_names(pair for pair, alias in self.aliases.items() if not alias.revoked)

    def shared(self, rules: IdentityRules) -> set[str]:
        return {lower for lower, degree in self.degrees.items() if degree > rules.shared_above}

    def ladder(self, rules: IdentityRules) -> Ladder:
        """Ready to climb. The hours of every unshared lower with several targets must have been loaded."""
        targets = self.targets()
        shared = self.shared(rules)
        several = {lower for lower, highers in targets.items() if len(highers) > 1 and lower not in shared}
        points: dict[str, list[Point]] = {lower: [] for lower in several}
        for (lower, higher, _), span in self.hours.items():
            if lower in several and higher in targets[lower]:
                points[lower] += ((span.earliest, higher), (span.latest, higher))
        return Ladder(rules, targets, points, self.names(), shared)


def with_batch(
    before: Evidence, pairs: Mapping[Pair, Span], hours: Mapping[HourKey, Span], aliases: Mapping[Pair, Alias],
    revoked: Mapping[Pair, bool],
) -> Evidence:  # fmt: skip
    """The evidence after a batch. ``revoked`` says of new pairs and of those named by its commands whether a
    revocation is in force."""
    after = before.copy()
    for pair, span in pairs.items():
        known = after.links.get(pair)
        merged = span if known is None else known.span.merged(span)
        is_revoked = revoked.get(pair, known is not None and known.revoked)
        after.links[pair] = Link(*pair, merged, is_revoked)
    for name, span in hours.items():
        seen = after.hours.get(name)
        after.hours[name] = span if seen is None else seen.merged(span)
    for pair, alias in aliases.items():
        old = after.aliases.get(pair)
        first = min((a for a in (old, alias) if a is not None), key=lambda a: (a.time, a.touchpoint_id))
        is_revoked = revoked.get(pair, old is not None and old.revoked)
        after.aliases[pair] = Alias(*pair, first.time, first.touchpoint_id, is_revoked)
    for pair, state in revoked.items():
        if pair in after.links and after.links[pair].revoked is not state:
            link = after.links[pair]
            after.links[pair] = Link(*pair, link.span, state)
        if pair in after.aliases and after.aliases[pair].revoked is not state:
            alias = after.aliases[pair]
            after.aliases[pair] = Alias(*pair, alias.time, alias.touchpoint_id, state)
    for pair in {*pairs, *revoked}:
        was, now = (e.links.get(pair) for e in (before, after))
        gained = int(now is not None and not now.revoked) - int(was is not None and not was.revoked)
        after.degrees[pair[0]] = after.degrees.get(pair[0], 0) + gained
    return after


def changed(
    before: Evidence, after: Evidence, lowers: Iterable[str], new: Mapping[str, bool], pairs: Mapping[Pair, Span],
    rules: IdentityRules,
) -> dict[str, int | None]:  # fmt: skip
    """Which identifiers climb elsewhere than before, and from what touchpoint time on (None: from the first).

    ``new`` identifiers are left out: nothing was stored under them yet. A superset is harmless, a miss is not.
    """
    found: dict[str, int | None] = {}
    targets = before.targets(), after.targets()
    for lower in lowers:
        if new.get(lower):
            continue
        shared = [evidence.degrees.get(lower, 0) > rules.shared_above for evidence in (before, after)]
        old, now = (t.get(lower, set()) for t in targets)
        if all(shared) or (shared[0] is shared[1] and old == now and len(old) <= 1):
            continue
        found[lower] = None
        if old and not any(shared) and old <= now:
            found[lower] = _only_from(before, lower, old, pairs)
    names = before.names(), after.names()
    for user in {*names[0], *names[1]}:
        if names[0].get(user, user) != names[1].get(user, user) and not new.get(user):
            found[user] = None
    return found


def _only_from(before: Evidence, lower: str, old: set[str], pairs: Mapping[Pair, Span]) -> int | None:
    """Evidence later than all there was changes only what is later still."""
    known = max(before.links[lower, higher].span.latest for higher in old)
    earliest = min((span.earliest for pair, span in pairs.items() if pair[0] == lower), default=None)
    return earliest if earliest is not None and earliest > known else None


def downwards(keys: Mapping[str, int | None], *evidence: Evidence) -> dict[str, int | None]:
    """All identifiers that may climb through ``keys`` in any of the evidence, with the instant that goes with each."""
    below: dict[str, set[str]] = defaultdict(set)
    for one in evidence:
        for lower, higher in one.links:
            below[higher].add(lower)
    found: dict[str, int | None] = {}
    todo = list(keys.items())
    while todo:
        key, since = todo.pop()
        if key in found and (found[key] is None or (since is not None and since >= (found[key] or 0))):
            continue
        found[key] = since
        todo.extend((lower, since) for lower in below.get(key, ()))
    return found
