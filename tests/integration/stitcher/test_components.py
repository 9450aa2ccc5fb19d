"""Which components become one."""

from __future__ import annotations

from uuid import UUID

from services.stitcher.store.components import Groups, apart

A, B, C, D, E = (UUID(int=n) for n in range(1, 6))


def test_newcomers_are_born_into_a_component_of_their_group() -> None:
    assert Groups([(C, A), (D, C)]).proposed([C, D, E], {A: B}) == {C: B, D: B, E: E}


def test_a_group_of_newcomers_takes_the_name_of_its_smallest() -> None:
    assert Groups([(D, C), (C, B)]).proposed([B, C, D], {}) == {B: B, C: B, D: B}


def test_components_that_meet_through_others_are_contested_together() -> None:
    component = {A: A, B: B, C: C, D: D}
    assert Groups([(A, B), (B, C)]).contested(component) == [[A, B, C]]


def test_what_is_one_already_is_not_looked_at() -> None:
    assert apart([(A, B), (A, C), (D, E)], {A: A, B: A, C: C, D: A}) == [(A, C), (D, E)]


def test_an_identifier_that_is_missing_counts_as_apart_unless_it_names_the_component() -> None:
    assert apart([(A, B)], {A: A}) == [(A, B)]
