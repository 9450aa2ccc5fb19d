"""Hypothesis strategies: JSON as no client should send it, and bodies that were damaged on their way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, 2**64, 10**400, -(2**70), 0, -1]),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(["", "\0", "\ud800", "null", "[object Object]", "$direct", "x" * 300, "2026-11-23T10:00:00Z"]),
)
_DEEP = st.integers(1, 120).map(lambda n: json.loads("[" * n + "]" * n))
ANYTHING = st.one_of(
    st.recursive(
        _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    _DEEP,
)


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> Any:
    """The value with one of its parts, or all of it, replaced by anything, or left out."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(ANYTHING)
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = draw(st.sampled_from(places))
    copy = dict(value) if isinstance(value, dict) else list(value)
    if draw(st.integers(0, 6)) == 0:
        del copy[place]
    else:
        copy[place] = draw(spoiled(value[place]))
    return copy


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """The body with a few pieces of it cut out, doubled, or written over."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.just(b""), st.binary(max_size=6), st.just(body[start:end] * 2)))
        body = body[:start] + piece + body[end:]
    return body
