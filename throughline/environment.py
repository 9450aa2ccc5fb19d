"""What every command needs first: settings that are right, and a database that is there."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

import asyncpg
import typer
from pydantic import ValidationError

from shared.eventlog.port import LogUnavailable
from shared.process import S
from throughline.embedded import EmbeddedPostgresError, embedded_postgres


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Ends the command with a plain sentence. Codes: 1 found a problem, 2 wrong use."""
    typer.echo(f"throughline: {sentence}", err=True)
    raise typer.Exit(code)


def read_settings(kind: type[S]) -> S:
    """The settings from the environment; ends the command if one is wrong."""
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(f"{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        fail(wrong, 2)


@contextlib.contextmanager
def with_database(kind: type[S]) -> Iterator[S]:
    """The settings, with the embedded PostgreSQL running where none is named.

    What goes wrong inside with the database, the log or the configuration ends the command with a sentence.
    """
    settings = read_settings(kind)
    try:
        if settings.database_url:
            yield settings
        else:
            with _sigterm_leaves(), contextlib.ExitStack() as stack:
                with signals_wait():
                    url = stack.enter_context(embedded_postgres(settings.throughline_home))
                yield settings.model_copy(update={"database_url": url})
    except asyncpg.UndefinedTableError:
        fail("the database has no tables of Throughline; `throughline migrate` makes them, and so does any service")
    except (ValueError, OSError, LogUnavailable, EmbeddedPostgresError, asyncpg.PostgresError) as error:
        fail(str(error) or type(error).__name__)


@contextlib.contextmanager
def _sigterm_leaves() -> Iterator[None]:
    """SIGTERM before a command listens for it itself: what has been started is stopped on the way out."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """SIGINT and SIGTERM that come inside take effect at its end.

    An exception in the middle of starting a process can leave that process behind, and one that a handler raises during
    a fork is dropped by the interpreter.
    """
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _leave(number: int, _: Any) -> NoReturn:
    raise SystemExit(128 + number)
