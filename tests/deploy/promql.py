"""Which metrics, with which labels, a PromQL expression asks for."""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING: Final = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?")
_LABEL: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_WORDS: Final = frozenset(("and", "or", "unless", "bool", "group_left", "group_right"))


def metrics_of(expression: str) -> dict[str, set[str]]:
    """The names, each with the labels that it is chosen by."""
    plain = _GROUPING.sub(" ", _RANGE.sub(" ", _STRING.sub('""', expression)))
    plain = re.sub(r"\boffset\s+\w+", " ", plain)
    plain = re.sub(r"[a-zA-Z_]\w*\s*\(", "(", plain)
    found: dict[str, set[str]] = {}
    for name, labels in _SELECTOR.findall(plain):
        if name not in _WORDS:
            found.setdefault(name, set()).update(_LABEL.findall(labels))
    return found


def labels_of(expression: str) -> set[str]:
    """The labels that it groups or matches by."""
    plain = _STRING.sub('""', expression)
    return {label.strip() for _, labels in _GROUPING.findall(plain) for label in labels.split(",") if label.strip()}
