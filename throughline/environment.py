"""What every command needs first: settings that are right, and a database that is there."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from shared.settings import Settings
from throughline.embedded import EmbeddedPostgresError, embedded_postgres

S = TypeVar("S", bound=Settings)


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
    """The settings, with the embedded PostgreSQL running where none is named."""
    settings = read_settings(kind)
    if settings.database_url:
        yield settings
        return
    with contextlib.suppress(ValueError):  # not the main thread: then nobody sends us signals
        signal.signal(signal.SIGTERM, _leave)
    try:
        with embedded_postgres(settings.throughline_home) as url:
            yield settings.model_copy(update={"database_url": url})
    except EmbeddedPostgresError as error:
        fail(str(error))


def _leave(number: int, _: Any) -> NoReturn:
    """SIGTERM before a command listens for it itself: what has been started is stopped on the way out."""
    raise SystemExit(128 + number)
