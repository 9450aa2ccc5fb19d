"""Fair sharing of a topic's partitions among the members of a group, without anybody in charge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one member does now: goes on with ``keep``, begins with ``take``, gives ``release`` to the others."""

    keep: frozenset[int]
    take: frozenset[int]
    release: frozenset[int]

    @property
    def held(self) -> frozenset[int]:
        return self.keep | self.take


def share(me: str, members: Collection[str], partitions: Collection[int], owners: Mapping[int, str]) -> Share:
    """My share, given the living members (me among them) and the leases that have not expired.

    Everybody may hold as many as if the partitions were dealt out in turns by order of name; so all of them find
    a place, and one moves only when somebody comes or goes.
    """
    quota = _quota(me, members, len(partitions))
    mine = sorted(partition for partition in partitions if owners.get(partition) == me)
    free = sorted(partition for partition in partitions if partition not in owners)
    keep = mine[:quota]
    take = free[: quota - len(keep)]
    return Share(frozenset(keep), frozenset(take), frozenset(mine[quota:]))


def _quota(me: str, members: Collection[str], partitions: int) -> int:
    each, more = divmod(partitions, len(members))
    return each + (sorted(members).index(me) < more)
