"""The tracking plan of a source: which events there are, and a JSON Schema of what each carries. Pure.

A file maps names of events to schemas of their `properties`, and `page`, `screen`, `identify`, `group` to schemas of
their properties or traits. A plan is compiled once; to ask it costs two microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import jsonschema_rs

from services.ingest.privacy import Document

CARRIED: Final = {"track": "properties", "page": "properties", "screen": "properties", "identify": "traits",
                  "group": "traits"}  # fmt: skip
UNPLANNED: Final = "(unplanned)"
MASK: Final = "what is there"  # stands for values: a message must not tell what was sent


class Violation(NamedTuple):
    """What breaks the plan: ``event`` as the plan names it, ``pointer`` a JSON pointer into the touchpoint."""

    event: str
    pointer: str
    message: str


class BadPlan(ValueError):
    """A tracking plan that cannot be used, in a sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Validators by type and, for tracks, by event."""

    events: Mapping[str, jsonschema_rs.Validator]
    types: Mapping[str, jsonschema_rs.Validator]

    def is_planned(self, type_: str, event: str | None) -> bool:
        """Whether the plan knows of it: every event of a track must be in it."""
        return type_ != "track" or event in self.events

    def violation(self, type_: str, event: str | None, document: Document) -> Violation | None:
        """The first thing that is not as planned, if the plan says anything about such a touchpoint."""
        validator = self.events.get(event or "") if type_ == "track" else self.types.get(type_)
        if validator is None:
            return None
        part = CARRIED[type_]
        carried = getattr(document, part)
        if validator.is_valid(carried):
            return None
        wrong = next(validator.iter_errors(carried))
        pointer = "".join(f"/{_escaped(step)}" for step in (part, *wrong.instance_path))
        return Violation(event if type_ == "track" and event else type_, pointer, wrong.message)


def compile_plan(document: Any) -> Plan:
    """A plan from what its file holds; raises BadPlan."""
    if not isinstance(document, dict) or not document or not set(document) <= {"events", *CARRIED} - {"track"}:
        raise BadPlan("a tracking plan has `events` (an event's name: a JSON Schema of its properties) and, of the "
                      "other types, `page`, `screen`, `identify`, `group`")  # fmt: skip
    events = document.get("events", {})
    if not isinstance(events, dict):
        raise BadPlan("`events` maps the name of an event to a JSON Schema")
    types = {name: schema for name, schema in document.items() if name != "events"}
    return Plan(_compiled(events), _compiled(types))


def _compiled(schemas: Mapping[str, Any]) -> dict[str, jsonschema_rs.Validator]:
    found = {}
    for name, schema in schemas.items():
        if not isinstance(schema, dict | bool):
            raise BadPlan(f"the schema of {name} is none: a JSON Schema is an object, or true or false")
        try:
            found[str(name)] = jsonschema_rs.validator_for(
                schema, mask=MASK, validate_formats=True, retriever=_not_fetched
            )
        except (jsonschema_rs.ValidationError, ValueError, TypeError) as error:
            why = str(error).partition("\n")[0]
            raise BadPlan(f"the schema of {name} is none: {why}") from error
    return found


def _not_fetched(uri: str) -> Any:
    raise ValueError(f"{uri} is in another file; a schema must be whole, with what it shares in its own $defs")


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
