"""The ladder read backwards agrees with climbing it."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.analysis.ladder import EVER, FOREVER, Evidence, Joined, Ladder
from services.stitcher.journey import identity
from shared.identifiers import IdentityRules

RULES = IdentityRules()


def ladder(*evidence: tuple[str, str, int], aliases: Iterable[tuple[str, str]] = ()) -> Ladder:
    said = [Evidence(lower, higher, time, f"t{time}") for lower, higher, time in evidence]
    return Ladder(RULES, said, [Joined(a, b, 0, f"{a}={b}") for a, b in aliases])


def test_anonymous_history_joins_the_one_who_logs_in_later() -> None:
    climbed = ladder(("anonymous_id:a", "user_id:u", 10))
    assert climbed.climb("anonymous_id:a", 1) == "user_id:u"
    assert climbed.owned("anonymous_id:a", "user_id:u") == [(EVER, FOREVER)]


def test_two_users_on_one_device_each_get_their_time() -> None:
    climbed = ladder(("anonymous_id:a", "user_id:u", 10), ("anonymous_id:a", "user_id:v", 20))
    assert climbed.owned("anonymous_id:a", "user_id:u") == [(EVER, 20)]
    assert climbed.owned("anonymous_id:a", "user_id:v") == [(20, FOREVER)]


def test_of_several_at_one_time_the_higher_kind_wins_then_the_smaller_value() -> None:
    assert ladder(("card:c", "email:e", 5), ("card:c", "user_id:z", 5)).climb("card:c", 5) == "user_id:z"
    assert ladder(("card:c", "email:f", 5), ("card:c", "email:e", 5)).climb("card:c", 5) == "email:e"


def test_climbing_goes_on_at_the_time_of_the_touchpoint() -> None:
    climbed = ladder(
        ("anonymous_id:a", "email:e", 1), ("email:e", "user_id:u", 10), ("email:e", "user_id:v", 20)
    )  # fmt: skip
    assert climbed.owned("anonymous_id:a", "user_id:u") == [(EVER, 20)]
    assert climbed.owned("anonymous_id:a", "user_id:v") == [(20, FOREVER)]


def test_a_chain_names_the_touchpoints_that_say_so() -> None:
    climbed = ladder(
        ("anonymous_id:a", "email:e", 1), ("email:e", "user_id:v", 10), aliases=[("user_id:u", "user_id:v")]
    )  # fmt: skip
    hops = climbed.chain("anonymous_id:a", 5)
    assert [hop.touchpoint_id for hop in hops] == ["t1", "t10", "user_id:u=user_id:v"]
    assert climbed.climb("anonymous_id:a", 5) == "user_id:u"


def test_an_alias_path_is_as_short_as_can_be() -> None:
    pairs = [("user_id:a", "user_id:b"), ("user_id:b", "user_id:c"), ("user_id:a", "user_id:c")]
    hops = ladder(aliases=pairs).chain("user_id:c", 0)
    assert [hop.touchpoint_id for hop in hops] == ["user_id:a=user_id:c"]
    assert ladder(aliases=pairs).chain("user_id:a", 0) == []


KEYS = [f"{kind}:{value}" for kind in RULES.kinds for value in "xyz"]


@st.composite
def rising(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    links = draw(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS), st.integers(0, 12)), max_size=25))
    return [one for one in links if RULES.rank(one[0].split(":")[0]) > RULES.rank(one[1].split(":")[0])]


users = st.sampled_from(KEYS[:3])


@given(rising(), st.lists(st.tuples(users, users).filter(lambda pair: pair[0] < pair[1]), max_size=3))
def test_what_is_owned_is_what_climbs_there(links: list[tuple[str, str, int]], aliases: list[tuple[str, str]]) -> None:
    climbed = ladder(*links, aliases=aliases)
    for key in KEYS:
        for time in range(-1, 15):
            root = climbed.climb(key, time)
            owners = [one for one in KEYS if any(a <= time < b for a, b in climbed.owned(key, one))]
            assert owners == [root]
            assert bool(climbed.chain(key, time)) == (root != key)


@given(rising(), st.lists(st.tuples(users, users).filter(lambda pair: pair[0] < pair[1]), max_size=3))
def test_the_stitcher_climbs_the_same_way(links: list[tuple[str, str, int]], aliases: list[tuple[str, str]]) -> None:
    lowers = {lower for lower, _, _ in links}
    targets = {lower: {higher for low, higher, _ in links if low == lower} for lower in lowers}
    points = {lower: [(time, higher) for low, higher, time in links if low == lower] for lower in lowers}
    shared = {lower for lower, highers in targets.items() if len(highers) > RULES.shared_above}
    stitcher = identity.Ladder(RULES, targets, points, identity.group_names(aliases), shared)
    climbed = ladder(*(link for link in links if link[0] not in shared), aliases=aliases)
    for key in KEYS:
        for time in range(-1, 15):
            assert climbed.climb(key, time) == stitcher.climb(key, time)
