"""Dotted paths into a touchpoint's free-form objects: look up, replace, take out. Pure: what is changed is copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Path = tuple[str, ...]
_NOTHING: Any = object()


def split(dotted: str) -> Path:
    """`properties.card.number` in its parts."""
    return tuple(dotted.split("."))


def without(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document without what lies at the path; the same one if nothing does."""
    return changed(document, path, lambda _: _NOTHING)


def changed(document: dict[str, Any], path: Path, change: Callable[[Any], Any]) -> dict[str, Any]:
    """The document with another value at the path; the same one if nothing lies there. A key may have dots in it."""
    whole = ".".join(path)
    if whole in document:
        return _with(document, whole, change(document[whole]))
    inner = document.get(path[0])
    if len(path) == 1 or type(inner) is not dict:
        return document
    other = changed(inner, path[1:], change)
    return document if other is inner else {**document, path[0]: other}


def _with(document: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    if value is _NOTHING:
        return {key: kept for key, kept in document.items() if key != name}
    return {**document, name: value}
