"""Hypothesis strategies for whole histories, from alphabets so small that everything collides with everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from shared.identifiers import IdentityRules, key
from shared.journey_map import JourneyMap
from shared.touchpoint import Command, Revocation, Touchpoint, Withdrawal, micros

START: Final = datetime(
    2026, 3, 28, 22, tzinfo=UTC
)  # midnight in Beirut, which skips it; three hours later Berlin skips an hour
QUARTER: Final = timedelta(minutes=15)
MICROSECOND: Final = timedelta(microseconds=1)
NAMES: Final = ("u1", "u2", "u3")
VALUES: Final = {
    "user_id": NAMES, "email": ("a@x", "b@x"), "phone": ("+1",), "card": ("c1",), "device_id": ("d1",),
    "anonymous_id": ("a1", "a2", *NAMES[:2]),  # an alias makes an anonymous id of a user's name
}  # fmt: skip
RANKED: Final = IdentityRules().kinds
ZONES: Final = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Asia/Beirut")
KEYS: Final = tuple(key(kind, value) for kind in RANKED for value in VALUES[kind])
EVENTS: Final = ("A", "B", "C", "Goal", "Survey")
CHANNELS: Final = ("web", "app", "phone")


@dataclass(frozen=True)
class History:
    """What somebody sent, in the order it arrived, and what it is folded with; ``clock`` in microseconds."""

    touchpoints: list[Touchpoint]
    commands: list[Command]
    maps: list[JourneyMap]
    rules: IdentityRules = field(default_factory=IdentityRules)
    clock: int = micros(START + timedelta(days=2))

    @property
    def messages(self) -> list[Touchpoint | Command]:
        return [*self.touchpoints, *self.commands]

    @property
    def records(self) -> list[bytes]:
        """As the log has them."""
        return [msgspec.json.encode(message) for message in self.messages]


def instants(quarters: int = 24) -> st.SearchStrategy[datetime]:
    """Quarters of an hour, so that deadlines, hours and each other are hit exactly, and just before and after them."""
    nudge = st.sampled_from([0, 0, 0, -1, 1])
    return st.builds(lambda q, n: START + q * QUARTER + n * MICROSECOND, st.integers(0, quarters), nudge)


def identifiers() -> st.SearchStrategy[dict[str, str]]:
    """One to three identifiers, more often those that people have."""
    kind = st.sampled_from([*RANKED, "user_id", "anonymous_id", "anonymous_id"])
    one = kind.flatmap(lambda k: st.tuples(st.just(k), st.sampled_from(VALUES[k])))
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(dict)


PROPERTIES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"value": 1},
    {"value": 9.99, "rating": 3.3},
    {"value": -5, "kind": "gold"},
    {"value": 0.1, "path": "/compare/a/b"},
    {"value": "7", "rating": "5"},
    {"value": True, "rating": True},
    {"value": None, "rating": None, "kind": None},
    {"value": 0.0000005, "kind": 1},
    {"value": 0.0000015, "kind": 1.0},
    {"value": 10**15, "kind": "1"},
    {"rating": 1, "kind": True},
    {"rating": 2, "kind": False, "path": "/"},
    {"rating": 4, "kind": 0, "cart": {}},
    {"rating": 5, "kind": 2.5, "cart": {"size": 0}},
    {"rating": 7, "kind": "gold/ring", "cart": {"size": 1}},
    {"kind": 2, "cart": {"size": 2}, "path": "/compare"},
    {"kind": "", "cart": 3, "path": "/read"},
    {"kind": "silver", "cart": {"size": None}},
)
TRAITS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"tier": "gold"},
    {"tier": "silver"},
    {"tier": None},
    {"level": 1},
    {"level": 1.0, "tier": "gold"},
    {"level": "1"},
    {"level": True, "tier": "silver"},
    {"level": 3},
)
CONTEXTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {},
    {"page": {}},
    {"page": {"path": "/compare/c"}},
    {"page": {"path": "/read"}},
)
RULES: Final[tuple[dict[str, Any], ...]] = (
    *({"event": event} for event in EVENTS),
    {"event": ["A", "Goal"]},
    {"event": "*"},
    {"event": "*o*"},
    {"event": "S*y"},
    {"type": "track"},
    {"type": "page"},
    {"type": ["identify", "alias"]},
    {"channel": "phone"},
    {"channel": "*p*", "event": "A"},
    {"acquisition": "Paid*"},
    {"acquisition": "*"},
    {"source": "t*"},
    {"path": "/compare/*"},
    {"path": "/"},
    {"path": "*e*", "type": "page"},
    {"where": {"properties.kind": 1}},
    {"where": {"properties.kind": "1"}},
    {"where": {"properties.kind": True}},
    {"where": {"properties.kind": ["gold*", 0, 2.5]}},
    {"where": {"properties.kind": {"gte": 1}}},
    {"where": {"properties.kind": {"gt": "1", "lt": "h"}}},
    {"where": {"properties.kind": {"exists": True}}},
    {"where": {"properties.cart.size": {"exists": False}}, "event": "B"},
    {"where": {"properties.cart.size": {"gte": 1, "lte": 2}}},
    {"where": {"properties.value": {"lt": 1}, "properties.rating": {"exists": True}}},
    {"where": {"traits.level": {"lte": 1.0}}},
    {"where": {"event": "G*", "type": "track"}},
    {"event": "Goal", "where": {"properties.value": {"gt": 0}}},
)
SEGMENTS: Final[tuple[dict[str, Any], ...]] = (
    {"traits.tier": "gold"},
    {"traits.tier": {"exists": False}},
    {"traits.tier": "*"},
    {"traits.level": 1},
    {"traits.level": {"gte": 1}},
    {"traits.level": "1", "traits.tier": ["silver", "gold"]},
)
EXPERIENCES: Final[tuple[dict[str, Any], ...]] = (
    {"event": "Survey", "score": "properties.rating", "scale": (1, 5)},
    {"event": "B", "score": "properties.rating", "scale": (7, 0)},
    {"type": "page", "score": -1},
    {"score": "properties.rating", "scale": (0, 7)},
    {"event": ["A", "C"], "score": 0.25},
    {"where": {"properties.kind": {"gte": 0}}, "score": "properties.kind", "scale": (0, 3)},
)


def properties() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(PROPERTIES)


@st.composite
def one_touchpoint(draw: st.DrawFn, whose: st.SearchStrategy[dict[str, str]], quarters: int) -> Touchpoint:
    kind = draw(st.sampled_from(["track", "track", "track", "page", "identify", "alias"]))
    ids = draw(whose)
    if kind == "alias":
        ids = ids | {"user_id": draw(st.sampled_from(NAMES))}
    time = draw(instants(quarters))
    return Touchpoint(
        id=f"m{draw(st.integers(0, 30))}",
        type=kind,
        event=draw(st.sampled_from(EVENTS)) if kind == "track" else None,
        time=time,
        received_at=time + draw(st.sampled_from([timedelta(0), timedelta(seconds=1), -QUARTER / 4, 8 * QUARTER])),
        source=draw(st.sampled_from(["site", "till"])),
        channel=draw(st.sampled_from(CHANNELS)),
        acquisition=draw(st.sampled_from([None, "Direct", "Paid Search"])),
        ids=ids,
        previous_id=draw(st.sampled_from([*NAMES, "a1"])) if kind == "alias" else None,
        properties=draw(properties()) if kind != "alias" else {},
        traits=draw(st.sampled_from(TRAITS)) if kind == "identify" else {},
        context=draw(st.sampled_from(CONTEXTS)),
    )


def copies(one: Touchpoint) -> st.SearchStrategy[Touchpoint]:
    """The same again, or with something else in it, received at the same time or another."""
    changes: list[st.SearchStrategy[dict[str, Any]]] = [
        st.just({}),
        st.builds(lambda t: {"received_at": t}, instants()),
        st.builds(lambda t: {"time": t}, instants()),
        st.builds(lambda p: {"properties": p}, properties()),
        st.builds(lambda extra: {"ids": extra | one.ids}, identifiers().filter(lambda i: lower_only(i, one.ids))),
    ]
    return st.one_of(changes).map(lambda change: msgspec.structs.replace(one, **change))


def lower_only(extra: dict[str, str], ids: dict[str, str]) -> bool:
    """Whether adding these leaves the highest identifier what it was."""
    rules = IdentityRules()
    return rules.highest(extra | ids) == rules.highest(ids)


@st.composite
def all_touchpoints(draw: st.DrawFn, most: int, one: st.SearchStrategy[Touchpoint]) -> list[Touchpoint]:
    size = draw(st.integers(1, most))
    first = draw(st.lists(one, min_size=size, max_size=size))
    again = draw(st.lists(st.sampled_from(first).flatmap(copies), max_size=4))
    return draw(st.permutations(first + again)) if again else first


def revocation_id(n: int) -> str:
    return str(UUID(int=n))


def revocations() -> st.SearchStrategy[Revocation]:
    """Of links and of aliases that may or may not have evidence."""
    number = st.integers(1, 1_000_000)
    pairs = [
        (low, high) for n, high in enumerate(KEYS) for low in KEYS[n + 1 :] if low.split(":")[0] != high.split(":")[0]
    ]
    link = st.builds(
        lambda n, pair, t: Revocation(id=revocation_id(n), received_at=t, lower=pair[0], higher=pair[1]),
        number, st.sampled_from(pairs), instants(),
    )  # fmt: skip
    alias = st.builds(
        lambda n, pair, t: Revocation(id=revocation_id(n), received_at=t, alias=(pair[0], pair[1])),
        number, st.permutations([*NAMES, "a1"]), instants(),
    )  # fmt: skip
    return link | alias


def evident_pairs(touchpoints: list[Touchpoint]) -> list[tuple[str, str]]:
    """The links that these touchpoints are evidence of."""
    rules = IdentityRules()
    found = set()
    for one in touchpoints:
        top = key(*rules.highest(one.ids))
        found |= {(key(kind, value), top) for kind, value in one.ids.items() if key(kind, value) != top}
        if one.type == "alias" and one.previous_id:
            found.add((key("anonymous_id", one.previous_id), top))
    return sorted(found)


def evident_aliases(touchpoints: list[Touchpoint]) -> list[tuple[str, str]]:
    return sorted({(str(t.previous_id), t.ids["user_id"]) for t in touchpoints if t.type == "alias"})


@st.composite
def all_commands(draw: st.DrawFn, touchpoints: list[Touchpoint], most: int = 3) -> list[Command]:
    """Mostly revocations of what has evidence, some of them withdrawn, some withdrawals of nothing."""
    links, joined = evident_pairs(touchpoints), evident_aliases(touchpoints)
    made: list[st.SearchStrategy[dict[str, Any]]] = [
        revocations().map(lambda r: {"lower": r.lower, "higher": r.higher, "alias": r.alias})
    ]
    made += [st.sampled_from(links).map(lambda pair: {"lower": pair[0], "higher": pair[1]})] * 2 if links else []
    made += [st.sampled_from(joined).map(lambda pair: {"alias": pair})] * 2 if joined else []
    what = draw(st.lists(st.one_of(made), max_size=most))
    found: list[Command] = [
        Revocation(id=revocation_id(n), received_at=draw(instants()), **one) for n, one in enumerate(what)
    ]
    undone = draw(st.lists(st.integers(0, most), max_size=2))
    found += [Withdrawal(id=revocation_id(n), received_at=draw(instants())) for n in undone]
    return draw(st.permutations(found)) if len(found) > 1 else found


def durations(*quarters: int) -> st.SearchStrategy[timedelta | None]:
    return st.sampled_from([None, *(q * QUARTER for q in quarters)])


def alternatives() -> st.SearchStrategy[list[dict[str, Any]]]:
    plain = st.sampled_from(RULES[:6]).map(lambda rule: [rule])
    return plain | plain | st.lists(st.sampled_from(RULES), min_size=1, max_size=2)


def without_nothing(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


@st.composite
def journey_maps(draw: st.DrawFn, name: str = "m") -> JourneyMap:
    names = ["one", "two", "three", "four"][: draw(st.integers(1, 4))]
    goal, decisive = {"event": "Goal"}, draw(st.lists(alternatives(), max_size=2))
    return JourneyMap.model_validate(
        without_nothing({
            "map": name,
            "timezone": draw(st.sampled_from(ZONES)),
            "timeout": draw(durations(2, 4, 8)),
            "goal": draw(st.just([goal]) | st.sampled_from(RULES).map(lambda rule: [rule, goal]) | st.just([])),
            "value": draw(st.sampled_from([None, "properties.value", "properties.value"])),
            "stages": [draw(stages(one)) for one in names],
            "reentry": draw(reentries(names)),
            "segments": draw(st.dictionaries(st.sampled_from(["vip", "new"]), st.sampled_from(SEGMENTS), max_size=2)),
            "moments": [{"name": f"moment {n}", "when": when} for n, when in enumerate(decisive)],
            "experience": draw(st.lists(st.sampled_from(EXPERIENCES), max_size=2)),
        })
    )  # fmt: skip


@st.composite
def stages(draw: st.DrawFn, name: str) -> dict[str, Any]:
    given = {"when": draw(alternatives()), "timeout": draw(durations(1, 2, 6)), "stall": draw(durations(1, 4))}
    return {"name": name, **without_nothing(given)}


@st.composite
def reentries(draw: st.DrawFn, names: list[str]) -> dict[str, Any] | None:
    if draw(st.booleans()):
        return None
    some = draw(st.none() | st.lists(st.sampled_from(names), min_size=1, unique=True))
    return without_nothing({"after": draw(durations(0, 1, 4)), "from": some})


@st.composite
def histories(draw: st.DrawFn, most: int = 20) -> History:
    """Many identifiers over some hours."""
    touchpoints = draw(all_touchpoints(most, one_touchpoint(identifiers(), 24)))
    return draw(folded_with(touchpoints, 40))


@st.composite
def crowded_histories(draw: st.DrawFn, most: int = 20) -> History:
    """One customer, who does everything at the same few instants."""
    touchpoints = draw(all_touchpoints(most, one_touchpoint(one_customer(), 3)))
    return draw(folded_with(touchpoints, 10))


@st.composite
def tangled_histories(draw: st.DrawFn, most: int = 12) -> History:
    """A few devices that several users share, joined and torn apart by aliases, revocations and withdrawals."""
    touchpoints = draw(all_touchpoints(most, one_touchpoint(shared_devices(), 12)))
    m = JourneyMap.model_validate({"map": "m", "stages": [{"name": "one", "when": [{"event": "*"}]}]})
    allowed = draw(st.sampled_from([1, 1, 2, 3]))
    return History(touchpoints, draw(all_commands(touchpoints, 6)), [m], IdentityRules(shared_above=allowed))


def shared_devices() -> st.SearchStrategy[dict[str, str]]:
    one = {kind: st.sampled_from(VALUES[kind][:2]) for kind in ("email", "device_id", "anonymous_id")}
    user = st.sampled_from(NAMES)
    return st.one_of(
        st.fixed_dictionaries({"anonymous_id": one["anonymous_id"]}),
        st.fixed_dictionaries({"user_id": user, "anonymous_id": one["anonymous_id"]}),
        st.fixed_dictionaries({"user_id": user}, optional=one),
        st.fixed_dictionaries({"email": one["email"]}, optional={"anonymous_id": one["anonymous_id"]}),
        st.fixed_dictionaries({"device_id": one["device_id"]}, optional={"anonymous_id": one["anonymous_id"]}),
    )


def one_customer() -> st.SearchStrategy[dict[str, str]]:
    known, device = {"user_id": "u1"}, {"anonymous_id": "a1"}
    return st.sampled_from([known, known, device, known | device])


@st.composite
def folded_with(draw: st.DrawFn, touchpoints: list[Touchpoint], quarters: int) -> History:
    return History(
        touchpoints,
        draw(all_commands(touchpoints)),
        [draw(journey_maps("m")), *([draw(journey_maps("n"))] if draw(st.booleans()) else [])],
        IdentityRules(shared_above=draw(st.sampled_from([5, 1, 2]))),
        micros(draw(instants(quarters))),
    )
