"""What can be refused or go wrong, and how it is told: RFC 9457 problem details with a code and a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

STATUS: Final[Mapping[str, int]] = {
    "unauthenticated": 401,
    "scope_missing": 403,
    "not_found": 404,
    "map_unknown": 404,
    "profile_unknown": 404,
    "method_not_allowed": 405,
    "parameter_unknown": 422,
    "value_invalid": 422,
    "internal": 500,
    "database_unavailable": 503,
    "too_slow": 503,
}
HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "unauthenticated": {"WWW-Authenticate": "Bearer"},
    "database_unavailable": {"Retry-After": "1"},
    "too_slow": {"Retry-After": "5"},
}


class Problem(Exception):
    """A request that gets no answer: ``code`` is a key of STATUS, ``message`` a sentence for whoever asked."""

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.more = code, message, more

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def details(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            "message": self.message,
            **self.more,
        }


def not_allowed(parameter: str, value: object, allowed: Sequence[object]) -> Problem:
    """A value that a parameter does not have, with those that it has."""
    listed = ", ".join(map(str, allowed)) or "none"
    return Problem(
        "value_invalid",
        f"{parameter}: {value!r} is not allowed; allowed are {listed}",
        errors=[{"parameter": parameter, "message": f"{value!r} is not allowed", "allowed": list(allowed)}],
    )


def invalid(parameter: str, message: str) -> Problem:
    """A value that cannot be read; the message says what can."""
    return Problem("value_invalid", f"{parameter}: {message}", errors=[{"parameter": parameter, "message": message}])


class Unavailable(Exception):
    """The database cannot be reached: try again in a moment."""


class TooSlow(Exception):
    """The database gave up on a statement at its time limit."""
