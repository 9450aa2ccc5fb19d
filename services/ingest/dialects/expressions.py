"""What a mapping takes from a body: JMESPath expressions, constants and tables of words. Pure.

Beyond JMESPath's own functions an expression may call `header(name)`, `query(name)`, `body()` (the whole body, where
`each` cut it), `divide(a, b)`, `lower(text)`, `after(text, prefix)`. An expression that cannot be worked out on a body
(a function that gets a wrong type, say) gives null: bodies differ, and one field must not cost a touchpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

_UNWORKABLE: Final = (ValueError, TypeError, ArithmeticError, LookupError, RecursionError)
_NOTHING: Final = object()
_FALSE: Final[tuple[Any, ...]] = ("", [], {})
_TEXT: Final[Any] = {"types": ["string"]}
_NUMBER: Final[Any] = {"types": ["number"]}
_ANYTHING: Final[Any] = {"types": []}


class Surroundings(Functions):
    """What expressions may ask for besides the item that they are worked out on: headers, query, the whole body."""

    def __init__(self, headers: Mapping[bytes, bytes], query: Mapping[str, str], whole: Any) -> None:
        self._headers, self._query, self._whole = headers, query, whole
        self.find: Callable[[Any, Any], Any] = TreeInterpreter(jmespath.Options(custom_functions=self)).visit

    @signature(_TEXT)
    def _func_header(self, name: str) -> str | None:
        found = self._headers.get(name.lower().encode())
        return found.decode("latin-1") if found is not None else None

    @signature(_TEXT)
    def _func_query(self, name: str) -> str | None:
        return self._query.get(name)

    @signature()
    def _func_body(self) -> Any:
        return self._whole

    @signature(_NUMBER, _NUMBER)
    def _func_divide(self, a: float, b: float) -> float:
        return a / b

    @signature(_TEXT)
    def _func_lower(self, text: str) -> str:
        return text.lower()

    @signature(_ANYTHING, _TEXT)
    def _func_after(self, text: Any, prefix: str) -> Any:
        return text.removeprefix(prefix) if isinstance(text, str) else text


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every body."""

    value: Any


@dataclass(frozen=True, slots=True)
class Found:
    """What an expression gives; looked up in ``table`` if there is one, ``otherwise`` for what is not there."""

    path: ParsedResult
    table: Mapping[str, Any] = field(default_factory=dict)
    otherwise: Any = _NOTHING


Value = Constant | Found


def take(value: Value, item: Any, around: Surroundings) -> Any:
    """What a value is for an item; None where there is nothing."""
    if isinstance(value, Constant):
        return value.value
    try:
        found = around.find(value.path.parsed, item)
    except _UNWORKABLE:
        found = None
    if value.table and (known := _word(found)) in value.table:
        return value.table[known]
    if value.otherwise is not _NOTHING and (value.table or found is None):
        return value.otherwise
    return found


def holds(value: Value, item: Any, around: Surroundings) -> bool:
    """Whether a condition holds: JMESPath's truth, so 0 is true, and false are null, false and what is empty."""
    found = take(value, item, around)
    return found is not None and found is not False and found not in _FALSE


def expression(given: Any) -> Value:
    """A value as written where values come from the body: text is JMESPath. ValueError in a sentence."""
    return Found(_compiled(given)) if isinstance(given, str) else _value(given)


def word(given: Any) -> Value:
    """A value as written where words are the rule: text is itself. ValueError in a sentence."""
    return Constant(given) if isinstance(given, str) else _value(given)


def _value(given: Any) -> Value:
    if not isinstance(given, dict):
        return Constant(given)
    unknown = set(given) - {"of", "as", "else"}
    if unknown or not isinstance(given.get("of"), str) or not isinstance(given.get("as", {}), dict):
        raise ValueError("a value is {of: expression, as: {word: word}, else: word}; `as` and `else` may be missing")
    table = {_word(key): member for key, member in given.get("as", {}).items()}
    return Found(_compiled(given["of"]), table, given.get("else", _NOTHING))


def _word(found: Any) -> str:
    return found if isinstance(found, str) else json.dumps(found, default=str)


def _compiled(text: str) -> ParsedResult:
    try:
        compiled = jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"{text!r} is no JMESPath: {' '.join(str(error).split())}") from error
    _check(text, compiled.parsed)
    return compiled


def _check(text: str, node: Any) -> None:
    """JMESPath itself notices unknown functions and misplaced `&` only when a body comes."""
    if not isinstance(node, dict):
        return
    if node["type"] == "expref":
        raise ValueError(f"{text!r}: & is only for functions such as sort_by and map")
    children = node["children"]
    wanted = _arguments(text, node) if node["type"] == "function_expression" else [_ANYTHING] * len(children)
    for child, want in zip(children, wanted, strict=True):
        inside = isinstance(child, dict) and child["type"] == "expref" and "expref" in want["types"]
        _check(text, child["children"][0] if inside else child)


def _arguments(text: str, node: Any) -> list[Any]:
    """The types that a function wants of each of its arguments."""
    name, n = node["value"], len(node["children"])
    known: Any = Surroundings.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"{text!r}: there is no function {name}; there are {', '.join(sorted(known))}")
    wanted = list(known[name]["signature"])
    if wanted and wanted[-1].get("variadic"):
        wanted += [wanted[-1]] * (n - len(wanted))
    if len(wanted) != n:
        raise ValueError(f"{text!r}: {name} takes {len(wanted)} arguments, not {n}")
    return wanted
