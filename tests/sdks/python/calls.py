"""What a driver is told on its standard input, and how it makes the calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

Call = dict[str, Any]


def read_job() -> dict[str, Any]:
    """``host``, ``key``, ``options`` of the client, and ``calls``, whose times become datetimes."""
    job: dict[str, Any] = json.load(sys.stdin)
    for call in job["calls"]:
        call["time"] = datetime.fromisoformat(call["time"]) if "time" in call else None
    return job


def make(calls: list[Call], send: Callable[[Call], Any]) -> list[int]:
    """Makes the calls in order; the numbers of those that the client itself refuses."""
    refused = []
    for call in calls:
        try:
            send(call)
        except Exception as error:
            print(f"{call['n']}: {error!s:.200}", file=sys.stderr)
            refused.append(call["n"])
    return refused


def report(refused: list[int], errors: list[str]) -> None:
    """What the driver found out, for the test that started it."""
    json.dump({"refused": refused, "errors": errors}, sys.stdout)


def as_segment(call: Call) -> tuple[str, dict[str, Any]]:
    """The method of Segment's Python client, and its arguments; RudderStack's has the same."""
    names = ("event", "name", "properties", "traits", "group_id", "previous_id")
    arguments = {name: call[name] for name in names if name in call}
    return call["type"], {**arguments, "user_id": call["user"], "timestamp": call["time"]}


def as_data(call: Call) -> dict[str, Any]:
    """The data of a CloudEvent: the properties of a track, anything else as a call of Segment's API."""
    if call["type"] == "track":
        return dict(call["properties"])
    names = {"user": "userId", "group_id": "groupId", "previous_id": "previousId"}
    kept = ("type", "user", "name", "properties", "traits", "group_id", "previous_id")
    return {names.get(name, name): call[name] for name in kept if name in call}
