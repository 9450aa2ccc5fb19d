"""Journey maps: the definition that stages, goals and targets come from, read from YAML and checked in full."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_MAX_STAGES = 50


def _duration(value: Any) -> Any:
    """``14d``, ``1h 30m`` or a number of seconds, as a timedelta."""
    if isinstance(value, bool):
        raise ValueError("a duration such as 30m, 12h or 14d is wanted")
    if isinstance(value, (int, float)):
        return timedelta(seconds=value)
    if isinstance(value, str):
        parts = _PART.findall(value)
        if parts and not _PART.sub("", value).strip():
            return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in parts))
        raise ValueError(f"{value!r} is no duration; write for example 30m, 12h or 14d")
    return value


def _many(value: Any) -> Any:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) or value is None else [value]


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration must be longer than nothing")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Names = Annotated[list[str] | None, BeforeValidator(_many)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_timedelta="float")


class Rule(_Strict):
    """One alternative: all that is given must hold. ``*`` is a wildcard in the strings."""

    type: Names = None
    event: Names = None
    channel: Names = None
    acquisition: Names = None
    source: Names = None
    path: Names = None
    where: dict[str, Any] = {}

    @field_validator("where")
    @classmethod
    def _matchers(cls, where: dict[str, Any]) -> dict[str, Any]:
        return check_matchers(where)

    @model_validator(mode="after")
    def _something(self) -> Rule:
        if not self.model_fields_set:
            raise ValueError(f"an empty rule; give at least one of {', '.join(type(self).model_fields)}")
        return self


_COMPARISONS = {"gte", "gt", "lte", "lt"}


def check_matchers(where: dict[str, Any]) -> dict[str, Any]:
    """`where` and `segments` read alike: dotted path -> a value, a list of values, or {gte gt lte lt exists}."""
    for path, matcher in where.items():
        if not isinstance(matcher, dict):
            continue
        unknown = set(matcher) - _COMPARISONS - {"exists"}
        if unknown or not matcher:
            raise ValueError(
                f"{path}: matchers are {', '.join(sorted(_COMPARISONS))} and exists, not {sorted(unknown)}"
            )
        if "exists" in matcher and not isinstance(matcher["exists"], bool):
            raise ValueError(f"{path}: exists takes true or false")
        for name in _COMPARISONS & set(matcher):
            if isinstance(matcher[name], bool) or not isinstance(matcher[name], (int, float, str)):
                raise ValueError(f"{path}: {name} takes a number or a string")
    return where


class Target(_Strict):
    """The future state of a stage: a yardstick."""

    conversion: Annotated[float, Field(ge=0, le=1)] | None = None
    time_in_stage: Duration | None = None
    experience: Annotated[float, Field(ge=-1, le=1)] | None = None


class Stage(_Strict):
    """One step of the map as the customer sees it; its position is its place in the list."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    when: list[Rule]
    timeout: Annotated[Duration, BeforeValidator(_duration)] | None = None
    stall: Duration | None = None
    goal: str | None = None
    owner: str | None = None
    notes: str | None = None
    target: Target | None = None

    @field_validator("timeout", "stall")
    @classmethod
    def _longer(cls, value: timedelta | None) -> timedelta | None:
        return value if value is None else _positive(value)


class Reentry(_Strict):
    """After the goal: which stages begin a new journey (none given: any), and how long after it."""

    from_: Names = Field(default=None, alias="from")
    after: Duration = timedelta(0)


class Moment(_Strict):
    """A moment of truth."""

    name: Annotated[str, Field(min_length=1)]
    when: list[Rule]


class Experience(Rule):
    """A rule that says how a touchpoint felt: ``score`` is a number or a dotted path, mapped from ``scale``."""

    score: float | str
    scale: tuple[float, float] = (-1.0, 1.0)

    @field_validator("scale")
    @classmethod
    def _apart(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] == scale[1]:
            raise ValueError("the two ends of a scale must differ")
        return scale


class JourneyMap(_Strict):
    """One version of one map (design.md section 6)."""

    map: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    title: str | None = None
    timezone: str = "UTC"
    timeout: Duration | None = None
    goal: list[Rule] = []
    value: str | None = None
    stages: Annotated[list[Stage], Field(min_length=1, max_length=_MAX_STAGES)]
    reentry: Reentry | None = None
    segments: dict[str, dict[str, Any]] = {}
    moments: list[Moment] = []
    experience: list[Experience] = []

    @field_validator("goal", mode="before")
    @classmethod
    def _goals(cls, value: Any) -> Any:
        return _many(value) or []

    @field_validator("timeout")
    @classmethod
    def _longer(cls, value: timedelta | None) -> timedelta | None:
        return value if value is None else _positive(value)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no time zone; write for example Europe/Berlin or UTC")
        return name

    @field_validator("segments")
    @classmethod
    def _segments(cls, segments: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if "" in segments:
            raise ValueError("a segment needs a name")
        return {name: check_matchers(where) for name, where in segments.items()}

    @model_validator(mode="after")
    def _names(self) -> JourneyMap:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("each stage needs a name of its own")
        if {"completed", "lost"} & set(names):
            raise ValueError("completed and lost are ends of a journey and cannot name a stage")
        if len({m.name for m in self.moments}) != len(self.moments):
            raise ValueError("each moment needs a name of its own")
        unknown = set((self.reentry and self.reentry.from_) or ()) - set(names)
        if unknown:
            raise ValueError(f"reentry names no stage: {', '.join(sorted(unknown))}; stages are {', '.join(names)}")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def position(self, stage: str) -> int:
        """The place of a stage; ValueError if there is none of this name."""
        return [s.name for s in self.stages].index(stage)

    def definition(self) -> dict[str, Any]:
        """The map as plain JSON values, durations in seconds, only what was given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)

    def digest(self) -> str:
        """A name for what the map does to journeys: equal whatever it says for people to read."""
        behaviour = self.definition() | {"title": None}
        behaviour["stages"] = [
            {key: value for key, value in stage.items() if key in ("name", "when", "timeout", "stall")}
            for stage in behaviour["stages"]
        ]
        canonical = msgspec.json.encode(behaviour, order="deterministic")
        return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def parse_map(text: str, origin: str) -> JourneyMap:
    """A map from YAML; ValueError names the file and says what is wrong."""
    try:
        return JourneyMap.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"{origin}: not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the map'}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{origin}: {wrong}") from error


def load_maps(config: Path) -> list[JourneyMap]:
    """All map versions under ``maps/`` of the configuration folder, by name and version; ValueError if any is wrong."""
    files = sorted([*config.glob("maps/*.yaml"), *config.glob("maps/*.yml")])
    maps: dict[tuple[str, int], tuple[JourneyMap, Path]] = {}
    for file in files:
        parsed = parse_map(file.read_text(encoding="utf-8"), str(file))
        name = (parsed.map, parsed.version)
        if name in maps:
            raise ValueError(f"{file}: {parsed.map} version {parsed.version} is already in {maps[name][1]}")
        maps[name] = (parsed, file)
    if not maps:
        raise ValueError(f"{config / 'maps'}: no journey map; put one there, for example shop.yaml")
    return [maps[name][0] for name in sorted(maps)]
