"""What the design means, slowly: identity, journeys and figures computed from the set of all touchpoints at once.

Written from the design alone and meant to be read beside it. Everything is plain dicts and lists; instants and
durations are microseconds, money and experience are millionths.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from shared.identifiers import IdentityRules, key
from shared.journey_map import Experience, JourneyMap, Rule
from shared.touchpoint import HOUR, Revocation, Touchpoint, Withdrawal, micros, moment

Command = Revocation | Withdrawal
Journey = dict[str, Any]
Known = tuple[str, str]  # a touchpoint's identity: (the key of its highest identifier, its id)

ABSENT: Final = object()
MILLION: Final = 1_000_000


@dataclass(frozen=True)
class Model:
    """The whole answer: whose each touchpoint is, and the journeys of each profile for each (map, version)."""

    owner: dict[Known, str]
    journeys: dict[tuple[str, int], dict[str, list[Journey]]]


def model(
    touchpoints: Iterable[Touchpoint],
    commands: Iterable[Command],
    maps: Iterable[JourneyMap],
    rules: IdentityRules,
    clock: int,
) -> Model:
    """Everything that follows from this set of touchpoints and commands, as seen at the instant ``clock``."""
    copies = list(touchpoints)
    counted = once_each(copies, rules)
    ladder = Ladder(copies, list(commands), rules)
    owner = {known: ladder.climb(known[0], micros(t.time)) for known, t in counted.items()}
    owned: dict[str, list[tuple[str, Touchpoint]]] = defaultdict(list)
    for known, touchpoint in counted.items():
        owned[owner[known]].append((known[0], touchpoint))
    journeys = {
        (m.map, m.version): {root: fold(m, theirs, clock) for root, theirs in sorted(owned.items())} for m in maps
    }
    return Model(owner, journeys)


# --- Section 4: a touchpoint counts once ------------------------------------------------------------------------------


def highest(touchpoint: Touchpoint, rules: IdentityRules) -> str:
    return key(*rules.highest(touchpoint.ids))


def once_each(copies: Sequence[Touchpoint], rules: IdentityRules) -> dict[Known, Touchpoint]:
    """Of copies with the same highest identifier and id the one received first, ties by the smaller encoding."""
    counted: dict[Known, Touchpoint] = {}
    for copy in copies:
        known = (highest(copy, rules), copy.id)
        if known not in counted or first_received(copy) < first_received(counted[known]):
            counted[known] = copy
    return counted


def first_received(copy: Touchpoint) -> tuple[int, bytes]:
    return micros(copy.received_at), msgspec.json.encode(copy)


# --- Section 5: the ladder --------------------------------------------------------------------------------------------


class Ladder:
    """All links and aliases that are in force, and the climb over them."""

    def __init__(self, copies: Sequence[Touchpoint], commands: Sequence[Command], rules: IdentityRules) -> None:
        self.rules = rules
        revoked_links, revoked_aliases = revoked(commands)
        hours: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for lower, higher, time in links(copies, rules):
            if (lower, higher) not in revoked_links:
                hours[lower, higher, time // HOUR].append(time)
        self.evidence: dict[str, set[tuple[int, str]]] = defaultdict(set)  # lower -> {(time, higher)}
        for (lower, higher, _), times in hours.items():
            self.evidence[lower] |= {(min(times), higher), (max(times), higher)}
        self.names = alias_names([pair for pair in aliases(copies) if frozenset(pair) not in revoked_aliases])

    def shared(self, identifier: str) -> bool:
        different = {higher for _, higher in self.evidence.get(identifier, ())}
        return not identifier.startswith("user_id:") and len(different) > self.rules.shared_above

    def climb(self, identifier: str, time: int) -> str:
        """The root identifier that ``identifier`` belongs to at ``time``."""
        evidence = self.evidence.get(identifier)
        if not evidence or self.shared(identifier):
            return self.names.get(identifier, identifier)
        before = [at for at, _ in evidence if at <= time]
        chosen = max(before) if before else min(at for at, _ in evidence)
        return self.climb(min((higher for at, higher in evidence if at == chosen), key=self._standing), time)

    def _standing(self, identifier: str) -> tuple[int, str]:
        """The higher kind first, then the smaller value."""
        kind, value = identifier.split(":", 1)
        return self.rules.rank(kind), value


def links(copies: Sequence[Touchpoint], rules: IdentityRules) -> list[tuple[str, str, int]]:
    """(lower, higher, time) from every copy: each lower identifier to the highest, and the alias's anonymous one."""
    found = []
    for copy in copies:
        top, time = highest(copy, rules), micros(copy.time)
        known = [key(kind, value) for kind, value in copy.ids.items() if kind in rules.kinds]
        found += [(lower, top, time) for lower in known if lower != top]
        if is_alias(copy):
            found.append((key("anonymous_id", str(copy.previous_id)), key("user_id", copy.ids["user_id"]), time))
    return found


def is_alias(copy: Touchpoint) -> bool:
    return copy.type == "alias" and copy.previous_id is not None and "user_id" in copy.ids


def aliases(copies: Sequence[Touchpoint]) -> list[tuple[str, str]]:
    return [(str(copy.previous_id), copy.ids["user_id"]) for copy in copies if is_alias(copy)]


def revoked(commands: Sequence[Command]) -> tuple[set[tuple[str, str]], set[frozenset[str]]]:
    """The links and the aliases that count for nothing: revoked, and the revocation not withdrawn."""
    withdrawn = {command.id for command in commands if isinstance(command, Withdrawal)}
    in_force = [c for c in commands if isinstance(c, Revocation) and c.id not in withdrawn]
    pairs = {(c.lower, c.higher) for c in in_force if c.lower is not None and c.higher is not None}
    return pairs, {frozenset(c.alias) for c in in_force if c.alias is not None}


def alias_names(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each user id key that is in a joined group -> the key of the group's smallest value."""
    groups: dict[str, set[str]] = {}
    for a, b in pairs:
        together = groups.get(a, {a}) | groups.get(b, {b})
        groups.update(dict.fromkeys(together, together))
    return {key("user_id", value): key("user_id", min(group)) for value, group in groups.items()}


# --- Section 6: rules -------------------------------------------------------------------------------------------------


def document(touchpoint: Touchpoint) -> dict[str, Any]:
    """What dotted paths walk through: the touchpoint as it is written, without what it does not have."""
    return {name: value for name in touchpoint.__struct_fields__ if (value := getattr(touchpoint, name)) is not None}


def look_up(found: Any, path: str) -> Any:
    """What lies at the end of a dotted path; null is nothing."""
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return ABSENT
        found = found[part]
    return ABSENT if found is None else found


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def glob(pattern: str, text: str) -> bool:
    """``*`` stands for any characters, none and slashes included; nothing else is special."""
    return re.fullmatch(".*".join(re.escape(piece) for piece in pattern.split("*")), text, re.DOTALL) is not None


def equal(wanted: Any, value: Any) -> bool:
    """1 is 1.0, but neither "1" nor true."""
    if isinstance(wanted, str) and isinstance(value, str):
        return glob(wanted, value)
    if is_number(wanted) and is_number(value):
        return bool(wanted == value)
    return type(wanted) is type(value) and bool(wanted == value)


COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gte": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "lte": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
}


def compare(name: str, bound: Any, value: Any) -> bool:
    if name == "exists":
        return (value is not ABSENT) is bound
    comparable = (is_number(value) and is_number(bound)) or (isinstance(value, str) and isinstance(bound, str))
    return comparable and COMPARE[name](value, bound)


def satisfies(matcher: Any, value: Any) -> bool:
    if isinstance(matcher, dict):
        return all(compare(name, bound, value) for name, bound in matcher.items())
    if isinstance(matcher, list):
        return any(equal(one, value) for one in matcher)
    return equal(matcher, value)


def all_hold(where: Mapping[str, Any], found: dict[str, Any]) -> bool:
    return all(satisfies(matcher, look_up(found, path)) for path, matcher in where.items())


def page_path(touchpoint: Touchpoint) -> Any:
    in_context = look_up(touchpoint.context, "page.path")
    return in_context if isinstance(in_context, str) else look_up(touchpoint.properties, "path")


def holds(rule: Rule, touchpoint: Touchpoint) -> bool:
    """One alternative: everything that it names must hold."""
    named = [(rule.type, touchpoint.type), (rule.event, touchpoint.event), (rule.channel, touchpoint.channel),
             (rule.acquisition, touchpoint.acquisition), (rule.source, touchpoint.source),
             (rule.path, page_path(touchpoint))]  # fmt: skip
    keys_hold = all(any(equal(one, value) for one in wanted) for wanted, value in named if wanted is not None)
    return keys_hold and all_hold(rule.where, document(touchpoint))


def matches(alternatives: Sequence[Rule], touchpoint: Touchpoint) -> bool:
    return any(holds(rule, touchpoint) for rule in alternatives)


def stage_position(m: JourneyMap, touchpoint: Touchpoint) -> int:
    """The last stage that matches; -1, before every stage, when none does."""
    return max([n for n, stage in enumerate(m.stages) if matches(stage.when, touchpoint)], default=-1)


def value_of(m: JourneyMap, touchpoint: Touchpoint) -> int:
    found: Any = ABSENT if m.value is None else look_up(document(touchpoint), m.value)
    return round(as_written(found) * MILLION) if is_number(found) else 0


def as_written(number: float) -> Fraction:
    """0.1 is a tenth, not the nearest binary fraction."""
    return Fraction(str(number))


def experience_of(rules: Sequence[Experience], touchpoint: Touchpoint) -> int | None:
    """The first rule that matches decides; None when there is no number to go by."""
    for rule in rules:
        if holds(rule, touchpoint):
            score = look_up(document(touchpoint), rule.score) if isinstance(rule.score, str) else rule.score
            return on_scale(score, rule.scale) if is_number(score) else None
    return None


def on_scale(score: float, scale: tuple[float, float]) -> int:
    low, high = as_written(scale[0]), as_written(scale[1])
    mapped = (as_written(score) - low) / (high - low) * 2 - 1
    return round(min(max(mapped, Fraction(-1)), Fraction(1)) * MILLION)


# --- Section 6: the fold ----------------------------------------------------------------------------------------------


def fold(m: JourneyMap, theirs: Sequence[tuple[str, Touchpoint]], clock: int) -> list[Journey]:
    """The journeys of one profile, in order, from all its touchpoints (each with its highest identifier's key)."""
    placed = [(micros(t.time), stage_position(m, t), t.id, who, t) for who, t in theirs]
    in_order = sorted(placed, key=lambda one: one[:4])
    journeys: list[Journey] = []
    for n, (_, position, _, _, touchpoint) in enumerate(in_order):
        take(m, journeys, touchpoint, position, n)
    for journey in journeys:
        come_to_now(m, journey, clock)
        seen = [(who, t) for *_, who, t in in_order[: journey.pop("_last") + 1]]
        journey["segments"] = segments_of(m, merged_traits(seen))
    return journeys


def take(m: JourneyMap, journeys: list[Journey], touchpoint: Touchpoint, position: int, n: int) -> None:
    """What one touchpoint, the ``n``-th of its profile, does to the journeys so far."""
    time = micros(touchpoint.time)
    current = journeys[-1] if journeys and journeys[-1]["closed_at"] is None else None
    if current and current["deadline"] is not None and time > current["deadline"]:
        close(current, current["deadline"])
        current = None
    if current and reenters(m, current, position, time):
        close(current, time, early=True)
        current = None
    if current is None and position < 0:
        return
    if current is None:
        current = opened(touchpoint, time)
        journeys.append(current)
    belong(m, current, touchpoint, position, n)


def opened(touchpoint: Touchpoint, time: int) -> Journey:
    return {
        "started_at": time, "channel": touchpoint.channel, "acquisition": touchpoint.acquisition or "",
        "source": touchpoint.source, "visits": [], "furthest": -1, "touchpoints": 0, "converted_at": None, "value": 0,
        "closed_at": None, "closed_early": False, "deadline": None,
    }  # fmt: skip


def reenters(m: JourneyMap, journey: Journey, position: int, time: int) -> bool:
    if m.reentry is None or journey["converted_at"] is None or position < 0:
        return False
    wanted = not m.reentry.from_ or m.stages[position].name in m.reentry.from_
    return wanted and time - journey["converted_at"] >= in_micros(m.reentry.after)


def belong(m: JourneyMap, journey: Journey, touchpoint: Touchpoint, position: int, n: int) -> None:
    """The touchpoint is part of this journey: it may change the stage, then it counts in the stage it is in."""
    time = micros(touchpoint.time)
    if position >= 0 and (not journey["visits"] or journey["visits"][-1]["position"] != position):
        journey["visits"].append({
            "stage": m.stages[position].name, "position": position, "entered_at": time, "cause": touchpoint.id,
            "touchpoints": 0, "moments": {}, "experience": (0, 0),
        })  # fmt: skip
    journey["furthest"] = max(journey["furthest"], position)
    visit = journey["visits"][-1]
    visit["last_at"] = journey["last_at"] = time
    visit["touchpoints"] += 1
    journey["touchpoints"] += 1
    journey["_last"] = n
    journey["deadline"] = deadline(m, visit["position"], time)
    if matches(m.goal, touchpoint):
        journey["converted_at"] = time if journey["converted_at"] is None else journey["converted_at"]
        journey["value"] += value_of(m, touchpoint)
    for name in [one.name for one in m.moments if matches(one.when, touchpoint)]:
        visit["moments"][name] = visit["moments"].get(name, 0) + 1
    felt = experience_of(m.experience, touchpoint)
    if felt is not None:
        total, count = visit["experience"]
        visit["experience"] = (total + felt, count + 1)


def in_micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def deadline(m: JourneyMap, position: int, last_at: int) -> int | None:
    timeout = m.stages[position].timeout or m.timeout
    return None if timeout is None else last_at + in_micros(timeout)


def close(journey: Journey, at: int, early: bool = False) -> None:
    journey["closed_at"], journey["closed_early"] = at, early


def come_to_now(m: JourneyMap, journey: Journey, clock: int) -> None:
    """The clock closes what is past its deadline and tells who is stalled; then the visits are summed up."""
    if journey["closed_at"] is None and journey["deadline"] is not None and clock > journey["deadline"]:
        close(journey, journey["deadline"])
    is_open = journey["closed_at"] is None
    ended = "lost" if journey["converted_at"] is None else "completed"
    journey["status"] = "open" if is_open else ended
    last = journey["visits"][-1]
    journey["stage"] = last["stage"]
    stall = m.stages[last["position"]].stall
    journey["stalled"] = is_open and stall is not None and clock - journey["last_at"] > in_micros(stall)
    journey["experience"] = tuple(sum(visit["experience"][n] for visit in journey["visits"]) for n in (0, 1))
    journey["moments"] = added(visit["moments"] for visit in journey["visits"])


def added(counts: Iterable[dict[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for each in counts:
        for name, n in each.items():
            total[name] = total.get(name, 0) + n
    return total


def merged_traits(seen: Sequence[tuple[str, Touchpoint]]) -> dict[str, Any]:
    """Last writer wins for each top-level key, by (time, id)."""
    identifies = [(micros(t.time), t.id, who, t.traits) for who, t in seen if t.type == "identify"]
    merged: dict[str, Any] = {}
    for _, _, _, traits in sorted(identifies, key=lambda one: one[:3]):
        merged |= traits
    return merged


def segments_of(m: JourneyMap, traits: dict[str, Any]) -> list[str]:
    return sorted(name for name, where in m.segments.items() if all_hold(where, {"traits": traits}))


# --- The figures: counting over journeys ------------------------------------------------------------------------------


def chosen(journeys: Iterable[Journey], segment: str | None = None, **first: str | None) -> list[Journey]:
    """Filters by segment, and by ``channel``, ``acquisition`` and ``source`` of the first touchpoint."""
    return [
        journey
        for journey in journeys
        if (segment is None or segment in journey["segments"])
        and all(journey[name] == wanted for name, wanted in first.items() if wanted is not None)
    ]


def hour_start(instant: int, zone: ZoneInfo) -> int:
    """The instant at which the hour of that zone begins."""
    offset = in_micros(moment(instant).astimezone(zone).utcoffset() or timedelta(0))
    return (instant + offset) // HOUR * HOUR - offset


def widened(start: int, end: int, zone: ZoneInfo) -> tuple[int, int]:
    """A half-open range, widened outwards to whole hours."""
    last = hour_start(end, zone)
    return hour_start(start, zone), last if last == end else hour_start(last + HOUR, zone)


def started_in(journeys: Iterable[Journey], start: int, end: int, zone: ZoneInfo) -> list[Journey]:
    low, high = widened(start, end, zone)
    return [journey for journey in journeys if low <= journey["started_at"] < high]


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def by_status(journeys: Iterable[Journey]) -> dict[str, int]:
    statuses = [journey["status"] for journey in journeys]
    return {status: statuses.count(status) for status in ("open", "completed", "lost")}


def totals(journeys: Sequence[Journey]) -> dict[str, int]:
    return {
        "started": len(journeys),
        **by_status(journeys),
        "converted": sum(journey["converted_at"] is not None for journey in journeys),
        "value": sum(journey["value"] for journey in journeys),
    }


def funnel(m: JourneyMap, journeys: Sequence[Journey]) -> dict[str, Any]:
    """The cohort funnel; value in millionths."""
    reached = [sum(journey["furthest"] >= n for journey in journeys) for n in range(len(m.stages))]
    stages = [
        {
            "stage": stage.name,
            "position": n,
            "reached": reached[n],
            "entered": len([j for j in journeys if any(v["position"] == n for v in j["visits"])]),
            "conversion": ratio(reached[n + 1], reached[n]) if n + 1 < len(m.stages) else None,
            "from_start": ratio(reached[n], len(journeys)),
            "left": by_status(j for j in journeys if j["furthest"] == n),
        }
        for n, stage in enumerate(m.stages)
    ]
    return {"journeys": totals(journeys), "stages": stages}


def interval_start(instant: int, zone: ZoneInfo, interval: str) -> int:
    """When the hour, day, week (from Monday) or month of that zone began."""
    if interval == "hour":
        return hour_start(instant, zone)
    day = moment(instant).astimezone(zone).date()
    first = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[interval]
    return micros(datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC))


def conversion(m: JourneyMap, journeys: Sequence[Journey], interval: str) -> dict[int, dict[str, Any]]:
    """Cohorts by the instant their interval began; only those in which a journey started."""
    cohorts: dict[int, list[Journey]] = defaultdict(list)
    for journey in journeys:
        cohorts[interval_start(journey["started_at"], m.zone, interval)].append(journey)
    sums = {start: totals(cohort) for start, cohort in sorted(cohorts.items())}
    return {start: {**one, "rate": ratio(one["converted"], one["started"])} for start, one in sums.items()}


def drop_off(m: JourneyMap, journeys: Sequence[Journey]) -> list[dict[str, Any]]:
    entered = [stage["entered"] for stage in funnel(m, journeys)["stages"]]
    lost = [sum(j["status"] == "lost" and j["stage"] == stage.name for j in journeys) for stage in m.stages]
    return [
        {"stage": stage.name, "position": n, "entered": entered[n], "lost": lost[n],
         "share": ratio(lost[n], entered[n]), "interval": wilson(lost[n], entered[n])}
        for n, stage in enumerate(m.stages)
    ]  # fmt: skip


def wilson(part: int, whole: int, z: float = 1.959963984540054) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of a share."""
    if not whole:
        return None
    share = part / whole
    middle = share + z * z / (2 * whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return (middle - half) / (1 + z * z / whole), (middle + half) / (1 + z * z / whole)


def steps(journey: Journey) -> list[tuple[str | None, str, int, int | None]]:
    """Each (from, to, when, microseconds spent in ``from``): the start, the transitions, the end."""
    visits = journey["visits"]
    found: list[tuple[str | None, str, int, int | None]] = [(None, visits[0]["stage"], visits[0]["entered_at"], None)]
    for left, entered in pairwise(visits):
        at = entered["entered_at"]
        found.append((left["stage"], entered["stage"], at, at - left["entered_at"]))
    if journey["closed_at"] is not None:
        at = journey["closed_at"]
        found.append((journey["stage"], journey["status"], at, at - visits[-1]["entered_at"]))
    return found


def transitions(journeys: Iterable[Journey]) -> dict[tuple[str | None, str], int]:
    """(from, to) -> how many; starts come from None, ends go to completed or lost."""
    return added({(one[0], one[1]): 1} for journey in journeys for one in steps(journey))


def flat(found: Model, m: JourneyMap) -> list[Journey]:
    """All journeys of a map, of all profiles."""
    return [journey for theirs in found.journeys[m.map, m.version].values() for journey in theirs]
