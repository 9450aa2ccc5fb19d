"""Members that only look at the same rows come to hold everything once, evenly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.leases import Share, share

NAMES = st.sets(st.sampled_from("abcdefg"), min_size=1)


def settle(members: set[str], partitions: range, owners: dict[int, str]) -> dict[int, str]:
    """Each in turn does what its share says, twice: once to release, once to take."""
    for member in sorted(members) * 2:
        mine = share(member, members, partitions, owners)
        owners = {partition: owner for partition, owner in owners.items() if partition not in mine.release}
        owners |= dict.fromkeys(mine.held, member)
    return owners


@given(NAMES, NAMES, st.integers(0, 20))
def test_after_any_change_of_members_all_partitions_are_held_evenly(before: set[str], after: set[str], n: int) -> None:
    partitions = range(n)
    owners = settle(before, partitions, {})
    living = {partition: owner for partition, owner in owners.items() if owner in after}
    owners = settle(after, partitions, living)
    counts = [list(owners.values()).count(member) for member in after]
    assert set(owners) == set(partitions)
    assert max(counts) - min(counts) <= 1


def test_a_newcomer_takes_nothing_that_another_still_holds() -> None:
    owners = dict.fromkeys(range(4), "old")
    assert share("new", {"new", "old"}, range(4), owners) == Share(frozenset(), frozenset(), frozenset())
    assert share("old", {"new", "old"}, range(4), owners).release == {2, 3}


def test_who_is_alone_takes_all_and_moves_nothing() -> None:
    assert share("a", {"a"}, range(3), {1: "a"}) == Share(frozenset({1}), frozenset({0, 2}), frozenset())
