"""Text hygiene: what breaks Postgres is stopped here, and a bad touchpoint never spoils its neighbours. Pure.

The fast path decodes a body with types that only clean JSON satisfies: strict UTF-8 without lone surrogates, 64-bit
integers, finite numbers, a few levels of nesting. That decoding is the scan. A body that fails, or that has an escaped
NUL, is read the careful way: leniently, into plain values that still show what was sent, to be cleaned by `scrub`.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from services.ingest.errors import Refusal

MAX_DEPTH: Final = 40
_CUT_DEPTH = 64  # cut off here while reading; the exact limit is counted from the touchpoint
_LONE: Final = "\udfff"  # stands for one piece of invalid UTF-8 until `scrub` replaces it
_UNSAFE = re.compile("[\0\ud800-\udfff]")
_REPLACED = {"\0": ""}
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+|-?Infinity', re.DOTALL)
_STEP = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+|,', re.DOTALL)


class TooDeep:
    """Stands where a subtree was nested too deeply."""


TOO_DEEP: Final = TooDeep()


def _as_lone(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _LONE, error.end


codecs.register_error("throughline.lone", _as_lone)


def may_decode_fast(body: bytes) -> bool:
    """Whether no NUL hides in an escape; all else that is unclean fails to decode."""
    return b"\\" not in body or b"\\u0000" not in body


def read(body: bytes) -> Any:
    """The careful way: any JSON that browsers and SDKs send, as plain values.

    Invalid UTF-8 shows as lone surrogates, subtrees deeper than any touchpoint may be as TOO_DEEP. Raises Refusal.
    """
    text = body.decode("utf-8", "throughline.lone")
    text, deep = _cut(text)
    constants = _DEEP_CONSTANTS if deep else _CONSTANTS
    try:
        return json.loads(text, strict=False, parse_int=_integer, parse_constant=constants.__getitem__)
    except ValueError as error:
        raise Refusal("body_not_json", f"the body is not JSON: {error}") from error


_CONSTANTS: Final[dict[str, Any]] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DEEP_CONSTANTS: Final[dict[str, Any]] = {"NaN": math.nan, "Infinity": TOO_DEEP, "-Infinity": -math.inf}


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 64 else float(digits)


def _cut(text: str) -> tuple[str, bool]:
    """The text with too deep subtrees replaced by `Infinity` (and a real one by `NaN`, which is no number either), and
    whether there were any. Reads brackets, never recurses."""
    if text.count("[") + text.count("{") <= _CUT_DEPTH:
        return text, False
    parts, kept = [], 0
    for start, end in _deep_spans(text):
        parts += [_TOKEN.sub(_no_infinity, text[kept:start]), "Infinity"]
        kept = end
    return "".join([*parts, text[kept:] if not parts else _TOKEN.sub(_no_infinity, text[kept:])]), bool(parts)


def _no_infinity(found: re.Match[str]) -> str:
    return "NaN" if found[0].endswith("Infinity") else found[0]


def _deep_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the containers begin and end that lie just below _CUT_DEPTH."""
    depth, start = 0, -1
    for found in _TOKEN.finditer(text):
        first = found[0][0]
        if first in "[{":
            depth += len(found[0])
            if start < 0 and depth > _CUT_DEPTH:
                start = found.end() - (depth - _CUT_DEPTH)
        elif first in "]}":
            depth -= len(found[0])
            if start >= 0 and depth <= _CUT_DEPTH:
                yield start, found.end() - (_CUT_DEPTH - depth)
                start = -1
    if start >= 0:
        yield start, len(text)


def depth(value: Any) -> int:
    """Levels of containers; more than MAX_DEPTH where a subtree was cut off."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return MAX_DEPTH + 1 if value is TOO_DEEP else 0


def is_clean(text: str) -> bool:
    """Whether a string has neither NUL nor lone surrogates."""
    return (text.isascii() and "\0" not in text) or not _UNSAFE.search(text)


def scrub(value: Any) -> Any:
    """The value as it may be kept: NUL removed, lone surrogates U+FFFD, no number null, integers 64 bit or floats."""
    if isinstance(value, str):
        return value if is_clean(value) else _UNSAFE.sub(_replacement, value)
    if isinstance(value, dict):
        return {scrub(key): scrub(member) for key, member in value.items()}
    if isinstance(value, list):
        return [scrub(member) for member in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return None if value is TOO_DEEP else value


def _replacement(found: re.Match[str]) -> str:
    return _REPLACED.get(found[0], "\ufffd")


def members(body: bytes, name: str) -> list[bytes]:
    """The bytes of each member of the list ``name`` of an object, as they were sent: for what is kept of a rejected
    touchpoint. Reads brackets, so it reads whatever `read` does."""
    text = body.decode("latin-1")  # one character a byte
    spans: list[tuple[int, int]] = []
    depth, key, start = 0, "", -1
    for found in _STEP.finditer(text):
        token, first = found[0], found[0][0]
        if first == '"':
            key = token if depth == 1 else key
        elif first in "[{":
            if depth == 1 and first == "[" and key == f'"{name}"':
                spans, start = [], found.start() + 1
            depth += len(token)
        elif first in "]}":
            if start >= 0 and depth - len(token) < 2:
                spans.append((start, found.start() + depth - 2))
                start = -1
            depth -= len(token)
        elif start >= 0 and depth == 2:
            spans.append((start, found.start()))
            start = found.end()
    parts = [body[start:end].strip() for start, end in spans]
    return [] if parts == [b""] else parts


def originals(body: bytes, name: str) -> Callable[[int], bytes]:
    """Looks up `members` by their places; splits the body when the first is asked for."""
    found: list[bytes] = []

    def original(index: int) -> bytes:
        found.extend([] if found else members(body, name))
        return found[index] if index < len(found) else body

    return original
