"""Who may ask what: read keys and their scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.metrics.errors import Problem
from shared.keys import Reader, Scope, hashed

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="a read key of readers.yaml", scheme_name="read key")),
]


class Access:
    """The scopes of each read key."""

    def __init__(self, readers: Iterable[Reader], now: Callable[[], datetime]) -> None:
        known = list(readers)
        self._scopes = {key: frozenset(reader.scopes) for reader in known for key in reader.keys}
        self._ends = {key: end for reader in known for key, end in reader.ends.items()}
        self._now = now

    def check(self, key: str | None, scope: Scope) -> None:
        """Raises the refusal unless the key may."""
        scopes = None if key is None else self._scopes.get(hashed(key))
        if scopes is None:
            what = "is missing" if key is None else "is not known"
            raise Problem("unauthenticated", f"the read key {what}; send one as Authorization: Bearer <read key>")
        if self._has_ended(hashed(key or "")):
            raise Problem("unauthenticated", "the read key has been replaced and is no longer taken")
        if scope not in scopes:
            raise Problem("scope_missing", f"this read key lacks the scope {scope}")

    def _has_ended(self, key: str) -> bool:
        return key in self._ends and self._now() >= self._ends[key]


def may(scope: Scope) -> Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[None]]:
    """A dependency that lets only those in who have the scope, and no parameter twice."""

    async def checked(request: Request, credentials: Credentials) -> None:
        access: Access = request.app.state.room.access
        access.check(credentials.credentials if credentials else None, scope)
        refuse_twice(request)

    return checked


def refuse_twice(request: Request) -> None:
    """A parameter given twice has two meanings, so it has none."""
    names = [name for name, _ in request.query_params.multi_items()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Problem("value_invalid", f"{', '.join(twice)}: given more than once")


async def no_parameters(request: Request) -> None:
    """Refuses all query parameters of a question that has none."""
    if request.query_params:
        unknown = ", ".join(sorted(request.query_params))
        raise Problem("parameter_unknown", f"unknown parameter {unknown}; there are none here")


METRICS: Final = Depends(may("metrics"))
PROFILES: Final = Depends(may("profiles"))
ADMIN: Final = Depends(may("admin"))
NO_PARAMETERS: Final = Depends(no_parameters)
