"""How far an import is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.ingest.exports.export import Export
from throughline.files import Damaged, rows

TOLD_EVERY: Final = 50_000  # rows


class progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, file: Path, export: Export, done: int) -> None:
        self._file, self._export, self._done = file, export, done
        self._bar: Progress | None = None
        self._told = 0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._file.name, total=_count(self._file), completed=self._done)
        return self

    def __call__(self, done: int) -> None:
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif done - self._told >= TOLD_EVERY:
            self._told = done
            typer.echo(f"{self._file.name}: {done} rows", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        typer.echo(f"{self._file.name}: {self._done} rows read, {self._export.title}", err=True)


def _count(file: Path) -> int | None:
    """Its rows; None if it is damaged."""
    try:
        return sum(1 for _ in rows(file))
    except Damaged:
        return None
