"""Pages of lists: one row more than asked for tells whether there is another page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from services.metrics.analysis.cursors import C, decode, encode
from services.metrics.errors import invalid

T = TypeVar("T")


def place_of(kind: type[C], cursor: str | None) -> C | None:
    """Where the page begins; None for the first. Problem if the cursor is none of this list."""
    if cursor is None:
        return None
    try:
        return decode(kind, cursor)
    except ValueError as error:
        raise invalid("cursor", str(error)) from error


def page(rows: Sequence[T], limit: int, mark: Callable[[T], msgspec.Struct]) -> tuple[Sequence[T], str | None]:
    """The rows of a page and the cursor of the next, from ``limit`` + 1 rows."""
    shown = rows[:limit]
    return shown, encode(mark(shown[-1])) if len(rows) > limit else None
