"""Refusals and failures as problem details."""

from __future__ import annotations

from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from services.metrics.api import answers
from services.metrics.errors import HEADERS, Problem, TooSlow, Unavailable
from services.metrics.telemetry import Telemetry

MEDIA_TYPE: Final = "application/problem+json"
_log = structlog.get_logger(__name__)


def _described(sentence: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": sentence, "model": answers.Problem, "content": {MEDIA_TYPE: {"schema": schema}}}


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: _described("No read key, or one that is not known."),
    403: _described("The read key lacks the scope."),
    404: _described("No such map or profile."),
    422: _described("An unknown parameter or value; the message names what is allowed."),
    503: _described("The database is away or was too slow; try again."),
}


def handle_problems(app: FastAPI, telemetry: Telemetry) -> None:
    """Teaches the app to answer with problem details whatever happens."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(_invalid(error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(_http(request, error), dict(error.headers or {}))

    async def away(_: Request, error: Exception) -> Response:
        return failed(Problem("database_unavailable", "the database is away; try again in a moment"), error)

    async def slow(_: Request, error: Exception) -> Response:
        return failed(Problem("too_slow", "the database gave up on this question; ask for a shorter range"), error)

    async def broken(_: Request, error: Exception) -> Response:
        return failed(Problem("internal", "this is our mistake; the log says more"), error)

    def failed(problem: Problem, error: Exception) -> Response:
        telemetry.failures.labels(problem.code).inc()
        _log.warning(problem.message, code=problem.code, error=repr(error))
        return answer(problem)

    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Unavailable, away)
    app.add_exception_handler(TooSlow, slow)
    app.add_exception_handler(Exception, broken)


def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """A problem on the wire."""
    told = {**(headers or {}), **HEADERS.get(problem.code, {})}
    return JSONResponse(problem.details(), problem.status, told, MEDIA_TYPE)


def _http(request: Request, error: HTTPException) -> Problem:
    if error.status_code == 405:
        return Problem("method_not_allowed", f"{request.method} is not allowed here; questions are asked with GET")
    return Problem("not_found", f"nothing is at {request.url.path}; /docs lists what there is")


def _invalid(error: RequestValidationError) -> Problem:
    errors = [_one(dict(each)) for each in error.errors()]
    unknown = any(each["type"] == "parameter_unknown" for each in error.errors())
    message = "; ".join(
        f"{one['parameter']}: {one['message']}" if "parameter" in one else one["message"] for one in errors
    )
    return Problem("parameter_unknown" if unknown else "value_invalid", message, errors=errors)


def _one(error: dict[str, Any]) -> dict[str, Any]:
    """One thing that is wrong: the parameter, what is wrong with it, what is allowed."""
    found: dict[str, Any] = {"message": str(error["msg"]).removeprefix("Value error, ")}
    if len(error["loc"]) > 1:
        found = {"parameter": str(error["loc"][1]), **found}
    allowed = error.get("ctx", {}).get("allowed")
    return found | ({"allowed": allowed} if allowed is not None else {})
