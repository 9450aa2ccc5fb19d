"""Who may send (`sources.yaml`) and who may ask (`readers.yaml`)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.touchpoint import CHANNELS

DEMO_KEYS = frozenset(("demo-write", "demo-read"))
Scope = Literal["metrics", "profiles", "admin"]
_HASHED = re.compile(r"sha256:[0-9a-f]{64}")
_RATE = re.compile(r"(\d+)\s*/\s*(second|minute|hour|day)")
_Text = Annotated[str, Field(min_length=1)]


def _with_zone(given: Any) -> Any:
    """YAML reads dates and times by itself; without a zone they are UTC."""
    if type(given) is date:
        return datetime.combine(given, time(), UTC)
    return given.replace(tzinfo=UTC) if isinstance(given, datetime) and given.tzinfo is None else given


def hashed(key: str) -> str:
    """The form in which a key is kept and compared: ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndingKey(_Strict):
    """A key that ends: replaced, it goes on beside the new one until then."""

    key: _Text
    until: Annotated[AwareDatetime, BeforeValidator(_with_zone)]


Key = _Text | EndingKey


def _hashes(keys: list[_Text | EndingKey]) -> dict[str, datetime | None]:
    """Each key hashed, and when it ends."""
    pairs = ((k.key, k.until) if isinstance(k, EndingKey) else (k, None) for k in keys)
    return {k if _HASHED.fullmatch(k) else hashed(k): until for k, until in pairs}


class Consent(_Strict):
    """What somebody must have agreed to, and what becomes of touchpoints of those who did not."""

    require: list[str] = []
    otherwise: Literal["drop", "anonymise"] = "drop"
    gpc: Literal["honour", "ignore"] = "honour"

    @property
    def categories(self) -> frozenset[str]:
        """The required categories as they are compared: in lower case."""
        return frozenset(name.strip().lower() for name in self.require)


_HIDEABLE = re.compile(r"(properties|traits|context)(\.[^.]+)+|ids\.[a-z_]+")


def _hideable(path: str) -> str:
    if not _HIDEABLE.fullmatch(path):
        raise ValueError(f"{path!r} is no path; write for example properties.card, traits.email, ids.email")
    return path


Hideable = Annotated[str, AfterValidator(_hideable)]


class Privacy(_Strict):
    """What of a touchpoint is not written down: dotted paths to drop or to hash, and what is kept of IP addresses."""

    ip: Literal["truncate", "drop", "keep"] = "truncate"
    drop: list[Hideable] = []
    hash: list[Hideable] = []


class TrackingPlan(_Strict):
    """The file of a tracking plan, relative to the configuration folder, and what is done about what breaks it."""

    file: Path
    mode: Literal["warn", "reject"] = "warn"
    unplanned: Literal["allow", "warn", "reject"] = "allow"


class Source(_Strict):
    """One sender."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    kind: Literal["browser", "server"]
    write_keys: list[Key] = []
    channel: str | None = None
    origins: list[str] = ["*"]
    app_ids: list[str] = []
    rate: str | None = None
    bots: Literal["mark", "stitch", "drop"] = "mark"
    consent: Consent | None = None
    privacy: Privacy = Privacy()
    plan: TrackingPlan | None = None
    hook: str | dict[str, Any] | None = None  # a mapping of its webhooks, or the name of one; read by ingest

    @field_validator("channel")
    @classmethod
    def _channel(cls, channel: str | None) -> str | None:
        if channel is not None and channel not in CHANNELS:
            raise ValueError(f"{channel!r} is no channel; channels are {', '.join(CHANNELS)}")
        return channel

    @field_validator("rate")
    @classmethod
    def _rate(cls, rate: str | None) -> str | None:
        if rate is not None and not _RATE.fullmatch(rate):
            raise ValueError(f"{rate!r} is no rate; write for example 5000/second")
        return rate

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if not self.write_keys and self.hook is None:
            raise ValueError("write_keys: a source needs at least one")
        return self

    @property
    def keys(self) -> frozenset[str]:
        """Its write keys, hashed."""
        return frozenset(_hashes(self.write_keys))

    @property
    def ends(self) -> dict[str, datetime]:
        """When those of its keys end that do, by hash."""
        return {key: until for key, until in _hashes(self.write_keys).items() if until is not None}


class Reader(_Strict):
    """One who may ask."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    key_list: Annotated[list[Key], Field(min_length=1, alias="keys")]
    scopes: list[Scope]

    @property
    def keys(self) -> frozenset[str]:
        """Its read keys, hashed."""
        return frozenset(_hashes(self.key_list))

    @property
    def ends(self) -> dict[str, datetime]:
        """When those of its keys end that do, by hash."""
        return {key: until for key, until in _hashes(self.key_list).items() if until is not None}


class _Named(_Strict):
    """A list whose members have names and keys of their own."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        seen: dict[str, str] = {}
        for member in next(iter(dict(self).values())):
            if member.name in seen.values():
                raise ValueError(f"{member.name} is named twice")
            for key in member.keys:
                if key in seen:
                    raise ValueError(f"{seen[key]} and {member.name} have the same key")
                seen[key] = member.name
        return self


class _Sources(_Named):
    sources: list[Source]

    @model_validator(mode="after")
    def _app_ids_apart(self) -> Self:
        seen: dict[str, str] = {}
        for source in self.sources:
            for app_id in source.app_ids:
                if seen.setdefault(app_id, source.name) != source.name:
                    raise ValueError(f"{seen[app_id]} and {source.name} have the same app id {app_id!r}")
        return self


class _Readers(_Named):
    readers: list[Reader]


def _load(path: Path, model: type[_Named]) -> Any:
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path}: {wrong}") from error


def load_sources(config: Path) -> list[Source]:
    """The sources of the configuration folder; ValueError says what is wrong in a plain sentence."""
    sources: list[Source] = _load(config / "sources.yaml", _Sources).sources
    return sources


def load_readers(config: Path) -> list[Reader]:
    """The readers of the configuration folder; ValueError says what is wrong in a plain sentence."""
    readers: list[Reader] = _load(config / "readers.yaml", _Readers).readers
    return readers


def has_demo_key(keys: frozenset[str]) -> bool:
    """Whether any of these hashed keys is one that we publish."""
    return any(hashed(key) in keys for key in DEMO_KEYS)
