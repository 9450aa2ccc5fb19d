"""What an export is: how its records are known, and what calls of the tracking API a record becomes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]  # a record of a file: an object of JSON lines, or the columns of a CSV by their names
Call = dict[str, Any]  # a call of the tracking API, names as in Segment's


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read: the ``zone`` of times that name none; ``texts``: it is a CSV, which has only texts."""

    zone: ZoneInfo
    texts: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """The export of a tool. ``holds``: whether a record looks like one of it. ``calls``: what a record says, none of it
    checked. Neither raises, whatever the record holds."""

    name: str
    title: str
    holds: Callable[[Row], bool]
    calls: Callable[[Row, Reading], list[Call]]
