"""Which components become one: pure, on uids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID


def apart(unions: Iterable[Sequence[UUID]], component: Mapping[UUID, UUID]) -> list[Sequence[UUID]]:
    """The unions that are not of one component already, or not known to be."""
    return [union for union in unions if len({component.get(one, one) for one in union}) > 1]


class Groups:
    """Identifiers that are to share a component, as disjoint sets."""

    def __init__(self, unions: Iterable[Sequence[UUID]]) -> None:
        self._leader: dict[UUID, UUID] = {}
        for union in unions:
            first = self._find(union[0])
            for other in union[1:]:
                self._leader[self._find(other)] = first

    def _find(self, one: UUID) -> UUID:
        leader = self._leader
        if one not in leader:
            leader[one] = one
            return one
        while (above := leader[one]) != one:
            leader[one] = leader[above]
            one = leader[one]
        return one

    def _members(self) -> dict[UUID, list[UUID]]:
        found: dict[UUID, list[UUID]] = defaultdict(list)
        for one in list(self._leader):
            found[self._find(one)].append(one)
        return found

    def proposed(self, missing: Iterable[UUID], component: Mapping[UUID, UUID]) -> dict[UUID, UUID]:
        """For each missing identifier the component it can be born into: one that its group has already, else the
        smallest of the group's missing ones."""
        found = {one: one for one in missing}
        for group in self._members().values():
            newcomers = [one for one in group if one in found]
            if newcomers:
                home = min((component[one] for one in group if one in component), default=min(newcomers))
                found.update(dict.fromkeys(newcomers, home))
        return found

    def contested(self, component: Mapping[UUID, UUID]) -> list[list[UUID]]:
        """Sets of two or more components that must become one; disjoint and sorted."""
        between = Groups([component[one] for one in group] for group in self._members().values())
        sets = (sorted(members) for members in between._members().values())
        return sorted(members for members in sets if len(members) > 1)
