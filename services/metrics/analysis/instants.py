"""Dates in questions: RFC 3339, no zone means UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from shared.touchpoint import micros

_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+\- ])(\d\d:\d\d))?", re.ASCII
)
FIRST: Final = micros(datetime(1999, 1, 1, tzinfo=UTC))
LAST: Final = micros(datetime(2200, 1, 1, tzinfo=UTC))
FORMAT: Final = "a date of RFC 3339 is wanted, for example 2026-11-23T10:00:00Z"


def read_instant(text: str) -> int:
    """Microseconds since 1970; ValueError if it is no date. Touchpoints lie between FIRST and LAST, and so does this.

    A ``+`` that was not percent-encoded arrives as a space and is read as what it was.
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError(FORMAT)
    date, clock, fraction, utc, sign, offset = found.groups()
    zone = "+00:00" if utc or not offset else f"{'-' if sign == '-' else '+'}{offset}"
    try:
        exact = datetime.fromisoformat(f"{date}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
    except ValueError as error:
        raise ValueError(FORMAT) from error
    return min(max(micros(exact), FIRST), LAST)
