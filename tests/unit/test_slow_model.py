"""The slow model says what the design's sentences say, and what others computed from the data sets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from shared.identifiers import IdentityRules
from shared.journey_map import JourneyMap
from shared.touchpoint import HOUR, Revocation, Touchpoint, Withdrawal
from tests.support import datasets, slow_model
from tests.support.builders import NOON, alias, hours, journey_map, touchpoint

RULES = IdentityRules()
ABC = journey_map("""
stages:
  - {name: a, when: [{event: A}]}
  - {name: b, when: [{event: B}]}
  - {name: c, when: [{event: C}, {event: A, where: {properties.last: true}}]}
timeout: 2h
goal: {event: Goal}
value: properties.value
""")


def owners(*touchpoints: Touchpoint, commands: Any = (), rules: IdentityRules = RULES) -> list[str]:
    """The root that each touchpoint belongs to."""
    owner = slow_model.model(touchpoints, commands, [], rules, 0).owner
    return [owner[slow_model.highest(one, rules), one.id] for one in touchpoints]


def fold(m: JourneyMap, *touchpoints: Touchpoint, clock: float = 100) -> list[dict[str, Any]]:
    """The journeys of the only profile."""
    (theirs,) = slow_model.model(touchpoints, [], [m], RULES, hours(clock)).journeys[m.map, m.version].values()
    return theirs


def stages(journey: dict[str, Any]) -> list[str]:
    return [visit["stage"] for visit in journey["visits"]]


# --- Identity


def test_anonymous_history_joins_the_customer_who_logs_in_later() -> None:
    assert (
        owners(touchpoint(0, who="anonymous_id:a"), touchpoint(1, who="anonymous_id:a user_id:u1"))
        == ["user_id:u1"] * 2
    )


def test_each_of_two_users_on_one_device_gets_what_was_done_after_they_logged_in() -> None:
    logins = touchpoint(1, who="device_id:d user_id:u1"), touchpoint(3, who="device_id:d user_id:u2")
    used = [touchpoint(hour, who="device_id:d") for hour in (0, 1, 2, 3, 4)]
    assert owners(*used, *logins)[:5] == ["user_id:u1"] * 3 + ["user_id:u2"] * 2


def test_climbing_goes_on_from_rung_to_rung() -> None:
    rungs = touchpoint(5, who="anonymous_id:a email:e"), touchpoint(9, who="email:e user_id:u1")
    assert owners(touchpoint(0, who="anonymous_id:a"), *rungs)[0] == "user_id:u1"


def test_of_several_links_at_one_time_the_higher_kind_wins_then_the_smaller_value() -> None:
    links = [touchpoint(0, who=f"anonymous_id:a {who}") for who in ("email:a", "user_id:u2", "user_id:u1")]
    assert owners(touchpoint(0, who="anonymous_id:a"), *links)[0] == "user_id:u1"


def test_evidence_inside_an_hour_is_its_earliest_and_its_latest_only() -> None:
    back_and_forth = [
        touchpoint(0.1, who="anonymous_id:a user_id:u1"),
        touchpoint(0.2, who="anonymous_id:a user_id:u2"),
        touchpoint(0.3, who="anonymous_id:a user_id:u1"),  # between two of its hour: not kept
        touchpoint(0.5, who="anonymous_id:a user_id:u1"),
    ]
    assert owners(touchpoint(0.4, who="anonymous_id:a"), *back_and_forth)[0] == "user_id:u2"


def test_aliased_users_are_one_named_by_the_smallest_value() -> None:
    joined = alias(5, "u3", "u2"), alias(6, "u1", "u3")
    assert owners(touchpoint(0, who="user_id:u2"), touchpoint(9, who="user_id:u3"), *joined)[:2] == ["user_id:u1"] * 2


def test_an_alias_takes_the_anonymous_history_of_that_name_along() -> None:
    assert owners(touchpoint(0, who="anonymous_id:x"), alias(1, "x", "y"))[0] == "user_id:x"
    unjoined = Revocation(id="r", received_at=NOON, alias=("y", "x"))
    assert owners(touchpoint(0, who="anonymous_id:x"), alias(1, "x", "y"), commands=[unjoined])[0] == "user_id:y"


def test_an_identifier_with_more_than_n_higher_ones_is_shared_and_keeps_its_own() -> None:
    logins = [touchpoint(n, who=f"device_id:d user_id:u{n}") for n in range(3)]
    kiosk = touchpoint(9, who="device_id:d")
    assert owners(kiosk, *logins, rules=IdentityRules(shared_above=3))[0] == "user_id:u2"
    assert owners(kiosk, *logins, rules=IdentityRules(shared_above=2))[0] == "device_id:d"


def test_a_revoked_link_was_never_there_until_the_revocation_is_withdrawn() -> None:
    used, login = touchpoint(0, who="anonymous_id:a"), touchpoint(1, who="anonymous_id:a user_id:u1")
    revoke = Revocation(id="r", received_at=NOON, lower="anonymous_id:a", higher="user_id:u1")
    assert owners(used, login, commands=[revoke])[0] == "anonymous_id:a"
    assert owners(used, login, commands=[Withdrawal(id="r", received_at=NOON), revoke])[0] == "user_id:u1"


def test_of_two_copies_the_one_received_first_counts_and_the_links_of_both() -> None:
    first = touchpoint(0, "A", id="same", received_at=NOON)
    other = msgspec.structs.replace(
        first, event="B", ids=first.ids | {"anonymous_id": "a"}, received_at=first.time.max.replace(tzinfo=NOON.tzinfo)
    )
    assert [stages(journey) for journey in fold(ABC, other, first)] == [["a"]]
    assert owners(touchpoint(3, who="anonymous_id:a"), other, first)[0] == "user_id:u1"


# --- Journeys


def test_a_journey_goes_forward_backward_and_across_and_remembers_the_furthest() -> None:
    (journey,) = fold(ABC, *(touchpoint(n / 10, event) for n, event in enumerate("ACCBA")))
    assert stages(journey) == ["a", "c", "b", "a"]
    assert (journey["furthest"], journey["stage"], journey["touchpoints"]) == (2, "a", 5)


def test_the_last_stage_that_matches_wins() -> None:
    assert stages(fold(ABC, touchpoint(0, "A", properties={"last": True}))[0]) == ["c"]


def test_unmatched_touchpoints_keep_a_journey_alive_but_open_none() -> None:
    (journey,) = fold(ABC, *(touchpoint(hour, event) for hour, event in enumerate("xAxxB")), clock=5)
    assert (journey["started_at"], journey["touchpoints"], stages(journey)) == (hours(1), 4, ["a", "b"])


def test_silence_ends_a_journey_at_its_deadline_and_not_at_the_touchpoint_that_tells() -> None:
    on_time = fold(ABC, touchpoint(0, "A"), touchpoint(2, "B"))
    assert [stages(journey) for journey in on_time] == [["a", "b"]]
    late = fold(ABC, touchpoint(0, "A"), touchpoint(2 + 1 / HOUR, "B"))
    assert [(journey["closed_at"], journey["status"]) for journey in late] == [
        (hours(2), "lost"),
        (hours(4) + 1, "lost"),
    ]


def test_a_stage_has_its_own_timeout_and_no_timeout_means_no_deadline() -> None:
    m = journey_map("stages: [{name: a, when: [{event: A}], timeout: 1h}, {name: b, when: [{event: B}]}]")
    assert [j["deadline"] for j in fold(m, touchpoint(0, "A"))] == [hours(1)]
    assert [j["deadline"] for j in fold(m, touchpoint(0, "A"), touchpoint(1, "B"))] == [None]


def test_an_unmatched_goal_converts_an_open_journey_and_opens_none() -> None:
    goals = [
        touchpoint(hour, "Goal", properties={"value": value})
        for hour, value in ((0, 5), (1.1, 2.5), (1.2, "9"), (1.3, True), (1.4, 1))
    ]
    (journey,) = fold(ABC, touchpoint(1, "A"), *goals, clock=2)
    assert (journey["status"], journey["converted_at"], journey["value"]) == ("open", hours(1.1), 3_500_000)
    assert fold(ABC, touchpoint(1, "A"), *goals, clock=9)[0]["status"] == "completed"


def test_reentry_closes_a_converted_journey_at_the_touchpoint_that_begins_the_next() -> None:
    m = ABC.model_copy(
        update={"reentry": journey_map("stages: [{name: b, when: []}]\nreentry: {from: [b], after: 1h}").reentry}
    )
    events = touchpoint(0, "A"), touchpoint(0.5, "Goal"), touchpoint(1, "B"), touchpoint(1.2, "A"), touchpoint(1.5, "B")
    first, second = fold(m, *events, clock=2)
    assert (stages(first), first["closed_at"], first["status"], first["closed_early"]) == (
        ["a", "b", "a"],
        hours(1.5),
        "completed",
        True,
    )
    assert (stages(second), second["status"], second["converted_at"]) == (["b"], "open", None)


def test_the_clock_closes_what_is_past_its_deadline_and_tells_who_is_stalled() -> None:
    m = journey_map("stages: [{name: a, when: [{event: A}], timeout: 2h, stall: 1h}]")
    seen = [(j["status"], j["stalled"]) for clock in (1, 1.1, 2, 2.1) for j in fold(m, touchpoint(0, "A"), clock=clock)]
    assert seen == [("open", False), ("open", True), ("open", True), ("lost", False)]


def test_ties_in_time_are_ordered_by_stage_then_by_id() -> None:
    same_time = (
        touchpoint(0, "B", id="1"),
        touchpoint(0, "A", id="3"),
        touchpoint(0, "x", id="2"),
        touchpoint(0, "A", id="2a"),
    )
    (journey,) = fold(ABC, *same_time)
    assert ([(v["stage"], v["cause"]) for v in journey["visits"]], journey["touchpoints"]) == (
        [("a", "2a"), ("b", "1")],
        3,
    )


def test_experience_is_mapped_clamped_and_counted_where_it_lies() -> None:
    m = journey_map("""
stages: [{name: a, when: [{event: A}]}, {name: b, when: [{event: B}]}]
experience: [{event: [B, S], score: properties.rating, scale: [1, 5]}, {event: R, score: -1}, {event: S, score: 1}]
moments: [{name: told us, when: [{event: S}]}]
""")
    said = [touchpoint(hour, "S", properties={"rating": rating}) for hour, rating in ((0, 1), (2, 4), (3, 9), (4, "5"))]
    (journey,) = fold(m, touchpoint(1, "A"), *said, touchpoint(5, "B", properties={"rating": 2}), touchpoint(6, "R"))
    assert [v["experience"] for v in journey["visits"]] == [(500_000 + 1_000_000, 2), (-500_000 - 1_000_000, 2)]
    assert (journey["experience"], journey["moments"]) == ((0, 4), {"told us": 3})


def test_segments_come_from_the_traits_as_of_the_last_touchpoint() -> None:
    m = ABC.model_copy(update={"segments": {"vip": {"traits.tier": "gold"}}})
    told = [
        touchpoint(hour, None, type="identify", traits={"tier": tier}) for hour, tier in ((0, "gold"), (9, "silver"))
    ]
    assert [j["segments"] for j in fold(m, touchpoint(1, "A"), *told, touchpoint(12, "B"))] == [["vip"], []]


@pytest.mark.parametrize(
    ("matcher", "yes", "no"),
    [
        (1, [1, 1.0], ["1", True, None, slow_model.ABSENT]),
        (True, [True], [1, "true"]),
        ("a*/b", ["a/b", "axx/y/b", "a\n/b"], ["a/bc", "A/b"]),
        ("[a]?", ["[a]?"], ["ab"]),
        ([1, "x"], [1, "x"], ["1", 2]),
        ({"gte": 1, "lt": 3}, [1, 2.9], [3, "2", True, None, slow_model.ABSENT]),
        ({"gt": "b"}, ["c", "é"], ["b", "a", 3]),
        ({"exists": True}, [0, ""], [slow_model.ABSENT]),
        ({"exists": False}, [slow_model.ABSENT], [0, ""]),
    ],
)  # fmt: skip
def test_types_count_in_matchers(matcher: Any, yes: list[Any], no: list[Any]) -> None:
    assert [slow_model.satisfies(matcher, value) for value in yes + no] == [True] * len(yes) + [False] * len(no)


# --- Figures


def test_nothing_vanishes_between_the_stages_of_a_funnel() -> None:
    everybody = [
        touchpoint(0, event, who=f"user_id:{who}") for who, way in enumerate(["A", "AC", "BA", "C"]) for event in way
    ]
    journeys = slow_model.flat(slow_model.model(everybody, [], [ABC], RULES, hours(9)), ABC)
    found = slow_model.funnel(ABC, journeys)["stages"]
    assert [(s["reached"], s["entered"], s["conversion"], s["left"]["lost"]) for s in found] == [
        (4, 3, 3 / 4, 1), (3, 1, 2 / 3, 1), (2, 2, None, 2),
    ]  # fmt: skip
    assert [s["lost"] for s in slow_model.drop_off(ABC, journeys)] == [1, 1, 2]


def test_hours_and_days_are_those_of_the_maps_zone() -> None:
    zone = journey_map("timezone: Asia/Kolkata\nstages: [{name: a, when: []}]").zone
    assert slow_model.widened(hours(0), hours(1), zone) == (hours(-0.5), hours(1.5))
    assert slow_model.interval_start(hours(0), zone, "week") == hours(-17.5)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_the_sessions_of_each_data_set_are_those_that_others_counted(name: str) -> None:
    m = datasets.sessions()
    found = slow_model.model(datasets.touchpoints(name), [], [m], RULES, 0)
    assert len(slow_model.flat(found, m)) == datasets.reference(name)["sessions"]["count"]


@pytest.mark.parametrize("name", ["apache_logs", "otto_sample", "rete_ecom"])
def test_furthest_and_entered_stages_without_a_timeout_are_those_that_others_counted(name: str) -> None:
    m, expected = datasets.without_timeout(datasets.journey_map(name)), datasets.reference(name)["stages"]
    journeys = slow_model.flat(slow_model.model(datasets.touchpoints(name), [], [m], RULES, 0), m)
    assert {s.name: Counter(j["furthest"] for j in journeys)[n] for n, s in enumerate(m.stages)} == expected["furthest"]
    assert {s["stage"]: s["entered"] for s in slow_model.funnel(m, journeys)["stages"]} == expected["reached"]


def test_the_ecommerce_history_goes_as_far_as_its_notes_say() -> None:
    m = datasets.without_timeout(datasets.journey_map("rete_ecom"))
    journeys = slow_model.flat(slow_model.model(datasets.touchpoints("rete_ecom"), [], [m], RULES, 0), m)
    left = [stage["left"] for stage in slow_model.funnel(m, journeys)["stages"]]
    assert [sum(by_status.values()) for by_status in left] == [0, 2, 76, 81, 113, 328]
