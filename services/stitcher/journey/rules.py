"""Touchpoint -> stage, goal, moments, experience: a map's rules, decided once for each kind of touchpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from services.stitcher.journey.touch import MISSING, Signature, Touch, dig
from shared.journey_map import Experience, JourneyMap, Rule
from shared.tables import CohortLayout

MILLION = 1_000_000
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Match:
    """What a map makes of a touchpoint. ``stage`` -1: none; ``value`` and ``felt`` in millionths, ``felt`` None: no
    experience; ``moments`` by place in the map."""

    stage: int = -1
    goal: bool = False
    value: int = 0
    felt: int | None = None
    moments: tuple[int, ...] = ()


NOTHING = Match()


def millionths(number: float) -> int:
    """A finite number in whole millionths, halves to even; exact for integers of any size."""
    if isinstance(number, int):
        return number * MILLION
    return round(Decimal(repr(number)) * MILLION)


# --- Matchers: a value -> whether it holds ---------------------------------------------------------------------------


def matcher(wanted: Any) -> Test:
    """Equality, a list of values, globs in strings, or gte gt lte lt exists. A missing value matches only
    ``exists: false``."""
    if isinstance(wanted, dict):
        tests = [_comparison(name, bound) for name, bound in wanted.items()]
        return lambda value: all(test(value) for test in tests)
    if isinstance(wanted, list):
        alternatives = [matcher(one) for one in wanted]
        return lambda value: any(test(value) for test in alternatives)
    if isinstance(wanted, str) and "*" in wanted:
        pattern = re.compile(".*".join(map(re.escape, wanted.split("*"))), re.DOTALL)
        return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None
    return lambda value: same(value, wanted)


def same(value: Any, wanted: Any) -> bool:
    """Equality in which types count: 1 is 1.0, and neither "1" nor true."""
    if value is MISSING or isinstance(value, bool) is not isinstance(wanted, bool):
        return False
    return bool(value == wanted)


def _comparison(name: str, bound: Any) -> Test:
    if name == "exists":
        return lambda value: (value is not MISSING and value is not None) is bound
    compare: Callable[[Any], bool] = {
        "gte": lambda value: value >= bound,
        "gt": lambda value: value > bound,
        "lte": lambda value: value <= bound,
        "lt": lambda value: value < bound,
    }[name]
    kinds = (str,) if isinstance(bound, str) else (int, float)
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool) and compare(value)


def condition(where: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Whether all of ``where`` holds for a document."""
    tests = [(path, matcher(wanted)) for path, wanted in where.items()]
    return lambda document: all(test(dig(document, path)) for path, test in tests)


# --- Rules -----------------------------------------------------------------------------------------------------------

_FIELDS = ("type", "event", "channel", "acquisition", "source")


class _Alternative:
    """One rule in two halves: what the signature decides, and what needs the whole document."""

    __slots__ = ("_fields", "_path", "_where", "whole")

    def __init__(self, rule: Rule) -> None:
        self._fields = [
            (place, matcher(list(wanted)))
            for place, name in enumerate(_FIELDS)
            if (wanted := getattr(rule, name)) is not None
        ]
        self._path = matcher(list(rule.path)) if rule.path is not None else None
        self._where = condition(rule.where) if rule.where else None
        self.whole = self._path is None and self._where is None

    def possible(self, signature: Signature) -> bool:
        return all(test(signature[place]) for place, test in self._fields)

    def holds(self, document: dict[str, Any]) -> bool:
        if self._path is not None and not self._path(path_of(document)):
            return False
        return self._where is None or self._where(document)


def path_of(document: dict[str, Any]) -> Any:
    """`context.page.path`, else `properties.path`."""
    path = dig(document["context"], "page.path")
    return path if isinstance(path, str) else dig(document["properties"], "path")


@dataclass(frozen=True, slots=True)
class _Candidates:
    """For one signature: outcomes by purpose, each with the alternatives that are still open (none: it holds)."""

    stages: list[tuple[int, list[_Alternative]]]
    goal: list[_Alternative] | None
    moments: list[tuple[int, list[_Alternative]]]
    experience: list[tuple[Experience, list[_Alternative]]]
    ready: Match | None  # the whole answer, where no document is needed


def _narrow(alternatives: Iterable[_Alternative], signature: Signature) -> list[_Alternative] | None:
    """The alternatives still open: None if none is possible, empty if one holds already."""
    possible = [one for one in alternatives if one.possible(signature)]
    if not possible:
        return None
    return [] if any(one.whole for one in possible) else possible


def _holds(open_ones: list[_Alternative], document: dict[str, Any]) -> bool:
    return not open_ones or any(one.holds(document) for one in open_ones)


class Plan:
    """A journey map made ready for folding; ``map_id`` is its number in the tables."""

    def __init__(self, map_id: int, definition: JourneyMap) -> None:
        self.map_id = map_id
        self.definition = definition
        self.name, self.version = definition.map, definition.version
        self.stage_names = [stage.name for stage in definition.stages]
        self.zone: ZoneInfo = definition.zone
        self.layout = CohortLayout(len(definition.stages), len(definition.moments))
        self.stalls = [_us(stage.stall) for stage in definition.stages]
        self._timeouts = [_us(stage.timeout or definition.timeout) for stage in definition.stages]
        self._stages = [[_Alternative(rule) for rule in stage.when] for stage in definition.stages]
        self._goal = [_Alternative(rule) for rule in definition.goal]
        self._moments = [[_Alternative(rule) for rule in moment.when] for moment in definition.moments]
        self._experience = [(rule, [_Alternative(rule)]) for rule in definition.experience]
        self._segments = [(name, condition(where)) for name, where in definition.segments.items()]
        reentry = definition.reentry
        self._reentry_after = _us(reentry.after) if reentry else None
        self._reentry_from = {definition.position(s) for s in reentry.from_} if reentry and reentry.from_ else None
        self._candidates: dict[Signature, _Candidates] = {}
        self.of_nobody = self.segments({})  # the segments of somebody of whom nothing is known

    def deadline(self, last_at: int, stage: int) -> int | None:
        """Until when a journey that was last heard of at ``last_at`` in ``stage`` stays open; None: for ever."""
        timeout = self._timeouts[stage]
        return None if timeout is None else last_at + timeout

    def reenters(self, stage: int, time: int, converted_at: int | None) -> bool:
        """Whether a touchpoint of ``stage`` begins a new journey although one that has converted is open."""
        if self._reentry_after is None or converted_at is None or stage < 0:
            return False
        if self._reentry_from is not None and stage not in self._reentry_from:
            return False
        return time - converted_at >= self._reentry_after

    def segments(self, traits: dict[str, Any]) -> tuple[str, ...]:
        """The names of the segments that hold for these traits, sorted."""
        document = {"traits": traits}
        return tuple(sorted(name for name, holds in self._segments if holds(document)))

    def match(self, touch: Touch) -> Match:
        """What this map makes of a touchpoint."""
        signature = touch.signature
        candidates = self._candidates.get(signature)
        if candidates is None:
            if len(self._candidates) >= 50_000:
                self._candidates.clear()
            candidates = self._candidates[signature] = self._candidates_of(signature)
        return candidates.ready or self._decide(candidates, touch.document)

    def _candidates_of(self, signature: Signature) -> _Candidates:
        stages = _open(enumerate(self._stages), signature)[::-1]  # the last one in the map's order wins
        goal = _narrow(self._goal, signature)
        moments = _open(enumerate(self._moments), signature)
        experience = _open(self._experience, signature)
        undecided = any(left for _, left in [*stages, *moments]) or goal or experience
        candidates = _Candidates(stages, goal, moments, experience, None)
        if undecided or (goal is not None and self.definition.value):
            return candidates
        return _Candidates(stages, goal, moments, experience, self._decide(candidates, {}))

    def _decide(self, candidates: _Candidates, document: dict[str, Any]) -> Match:
        stage = next((place for place, left in candidates.stages if _holds(left, document)), -1)
        goal = candidates.goal is not None and _holds(candidates.goal, document)
        moments = tuple(place for place, left in candidates.moments if _holds(left, document))
        rule = next((rule for rule, left in candidates.experience if _holds(left, document)), None)
        felt = None if rule is None else _felt(rule, document)
        if stage < 0 and not goal and felt is None and not moments:
            return NOTHING
        return Match(stage, goal, self._value(document) if goal else 0, felt, moments)

    def _value(self, document: dict[str, Any]) -> int:
        if self.definition.value is None:
            return 0
        value = dig(document, self.definition.value)
        return millionths(value) if _is_number(value) else 0


def _open(
    rules: Iterable[tuple[Any, list[_Alternative]]], signature: Signature
) -> list[tuple[Any, list[_Alternative]]]:
    return [(what, left) for what, ones in rules if (left := _narrow(ones, signature)) is not None]


def _felt(rule: Experience, document: dict[str, Any]) -> int | None:
    """The score mapped from its scale to [-1, +1] and clamped, in millionths; None where there is no number."""
    score = rule.score if not isinstance(rule.score, str) else dig(document, rule.score)
    if not _is_number(score):
        return None
    low, high = rule.scale
    mapped = (score - low) / (high - low) * 2 - 1
    return millionths(float(min(1.0, max(-1.0, mapped))))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _us(duration: timedelta | None) -> int | None:
    return None if duration is None else (duration.days * 86400 + duration.seconds) * MILLION + duration.microseconds
