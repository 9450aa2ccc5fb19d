"""The plain form: JSON lines or CSV with columns of one's own, and a mapping that says which column is what. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.ingest.exports.export import Call, Export, Reading, Row
from services.ingest.exports.values import instant, number

COLUMNS: Final = {  # what a column is called -> where its value goes in a call
    "id": "messageId", "time": "timestamp", "user": "userId", "anonymous": "anonymousId",
}  # fmt: skip
ROOT: Final = frozenset(
    ("type", "event", "name", "messageId", "timestamp", "originalTimestamp", "sentAt", "userId", "anonymousId",
     "previousId", "groupId", "properties", "traits", "context")
)  # fmt: skip
WHO: Final = ("user", "anonymous", "userId", "anonymousId")
TIMES: Final = ("timestamp", "originalTimestamp")
Decimal = Literal[".", ","]
ChannelIs = Literal["channel", "acquisition"]
IDS: Final = "context.ids."


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column is what: ``columns`` and ``constants`` (the same in every row) by target, and what a column named
    `channel` holds. A target is one of COLUMNS, `channel`, a dotted path into a call, or the name of a property.
    ``time_format``: as `strptime` has it, where times are not ISO 8601; ``decimal``: the mark in the numbers of a CSV.
    """

    columns: ReadOnly[str, str] = field(default_factory=dict)
    constants: ReadOnly[str, Any] = field(default_factory=dict)
    channel_is: ChannelIs = "channel"
    time_format: str | None = None
    decimal: Decimal = "."

    def calls(self, row: Row, reading: Reading) -> list[Call]:
        """A row as a call; columns that mean nothing to us become properties."""
        call: Call = {}
        mapped = set(self.columns.values())
        own = [(column, value) for column, value in row.items() if column not in mapped]
        for name, value in (*own, *((target, row.get(column)) for target, column in self.columns.items())):
            if value is not None and value != "":
                path = self._path(name)
                _put(call, path, self._number(path, value) if reading.texts else value)
        for name, value in self.constants.items():
            _put(call, self._path(name), value)
        for name in TIMES:
            if name in call:
                call[name] = instant(self._time(call[name]), reading.zone)
        call.setdefault("type", "track")
        return [call]

    def _time(self, value: Any) -> Any:
        if self.time_format is None or not isinstance(value, str):
            return value
        try:
            return datetime.strptime(value.strip(), self.time_format).isoformat()
        except ValueError:
            return value

    def _number(self, path: str, text: Any) -> Any:
        """What reads like a number is one, but for what a call names itself, such as ids and times, and other ids."""
        if "." not in path or path.startswith(IDS) or not isinstance(text, str):
            return text
        found = number(text.replace(".", "").replace(",", ".") if self.decimal == "," else text)
        return text if isinstance(found, str) else found

    def _path(self, name: str) -> str:
        if name == "channel":
            return f"context.{self.channel_is}"
        if name in COLUMNS:
            return COLUMNS[name]
        return name if name.split(".", maxsplit=1)[0] in ROOT else f"properties.{name}"


class MappingFile(BaseModel):
    """A mapping as it is written in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, Annotated[str, Field(min_length=1)]] = {}
    constants: dict[str, Any] = {}
    channel_is: ChannelIs = "channel"
    timezone: str = "UTC"
    time_format: str | None = None
    decimal: Decimal = "."
    encoding: str = "utf-8"

    @property
    def mapping(self) -> Mapping:
        return Mapping(self.columns, self.constants, self.channel_is, self.time_format, self.decimal)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError as error:
            raise ValueError(f"{name!r} is no encoding; write for example cp1252") from error

    @field_validator("columns", mode="before")
    @classmethod
    def _columns(cls, columns: Any) -> Any:
        for column in columns.values() if isinstance(columns, dict) else ():
            if not isinstance(column, str):
                raise ValueError(f"YAML takes a name for {column!r}; put it in quotes")
        return columns

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no time zone; write for example Europe/Berlin")
        return name


def read_mapping(text: str) -> MappingFile:
    """The mapping in a YAML document; ValueError says in a sentence what is wrong."""
    try:
        return MappingFile.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise ValueError(wrong) from error


def holds(row: Row) -> bool:
    return any(name in row for name in WHO) or any(name.startswith(IDS) for name in row)


def _put(document: Row, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            return
        document = inner
    document[last] = value


def export(mapping: Mapping) -> Export:
    """The plain form, read with this mapping."""
    return Export("plain", "plain (JSON lines or CSV with columns of your own)", holds, mapping.calls)


EXPORT: Final = export(Mapping())
