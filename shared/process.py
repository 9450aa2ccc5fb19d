"""A service as a process of its own: one loop, until it is told to stop; what stops it is said in a sentence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from shared.settings import Settings

S = TypeVar("S", bound=Settings)
Serve = Callable[[S], Coroutine[Any, Any, None]]


def run(serve: Serve[S], settings: S) -> None:
    """Runs a service to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


def main(serve: Serve[S], kind: type[S], *ends: type[Exception]) -> int:
    """The exit code of `python -m services.<name>`: 2 if it is misconfigured, 1 if one of ``ends`` came over it."""
    known: tuple[type[Exception], ...] = (ValueError, *ends)
    try:
        run(serve, kind())
    except known as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, ValueError) else 1
    return 0
