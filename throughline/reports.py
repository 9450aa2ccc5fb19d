"""Long work told as it goes: a bar on a terminal, plain lines elsewhere; problems on lines of their own."""

from __future__ import annotations

import sys
from typing import Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Told:
    """A `Report` for people; use it as a context manager."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told = -1

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """How far it is; on a terminal a bar, else a line every tenth."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(what, total=total)
            self._bar.update(self._task, completed=done, total=total)
        elif (tenth := 10 * done // max(total, 1)) != self._told:
            self._told = tenth
            typer.echo(f"{what}: {done} of {total}", err=True)

    def problem(self, text: str) -> None:
        """Something that is not as it should be."""
        typer.echo(text)
