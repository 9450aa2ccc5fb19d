"""`import FILE…`: history from files, through the same checks and the same log as touchpoints that come over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Literal, Self, cast
from uuid import uuid4

import stamina
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.ingest import hygiene
from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.segment import parse_batch
from services.ingest.encode import rejected_record, touchpoint_record
from services.ingest.reasons import Rejection
from services.ingest.settings import IngestSettings
from services.ingest.times import Arrival
from shared.eventlog.open import open_appender
from shared.eventlog.port import Appender, LogUnavailable, Record
from shared.identifiers import IdentityRules, load_identity
from shared.keys import Source, load_sources
from shared.touchpoint import REJECTED, TOUCHPOINTS
from throughline.environment import fail, with_database
from throughline.services import prepare

BATCH = 1000
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
TRACEPARENT = b"00-00000000000000000000000000000001-0000000000000001-00"
COLUMNS = {  # what a column is called -> where its value goes in a Segment call
    "id": "messageId", "time": "timestamp", "user": "userId", "anonymous": "anonymousId",
}  # fmt: skip
ROOT = frozenset(
    ("type", "event", "name", "messageId", "timestamp", "originalTimestamp", "sentAt", "userId", "anonymousId",
     "previousId", "groupId", "properties", "traits", "context")
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What became of the rows."""

    before: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column is what; what the `channel` column holds."""

    columns: dict[str, str]
    channel_is: str

    def call(self, row: dict[str, Any], fallback_id: str, *, texts: bool = False) -> dict[str, Any]:
        """A row as a Segment call; columns that mean nothing to us become properties. ``texts``: it has only texts."""
        call: dict[str, Any] = {}
        for column, value in row.items():
            if value is not None and value != "":
                target = self._target(column)
                _put(call, target, _number(value) if texts and "." in target and isinstance(value, str) else value)
        call.setdefault("type", "track")
        call.setdefault("messageId", fallback_id)
        return call

    def _target(self, column: str) -> str:
        name = self.columns.get(column, column)
        if name == "channel":
            return f"context.{self.channel_is}"
        if name in COLUMNS:
            return COLUMNS[name]
        return name if name.split(".", maxsplit=1)[0] in ROOT else f"properties.{name}"


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            return
        document = inner
    document[last] = value


def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="JSON lines or CSV, gzipped or not.", exists=True, dir_okay=False)
    ],
    source: Annotated[str | None, typer.Option(help="In whose name; the first of sources.yaml if not given.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="TARGET=COLUMN, e.g. user=customer or properties.revenue=amount; repeatable."),
    ] = None,
    channel_is: Annotated[
        str, typer.Option(help="What a column named channel holds: channel or acquisition.")
    ] = "channel",
) -> None:
    """Import history from files. Goes on where it stopped; importing a file twice changes nothing."""
    if channel_is not in ("channel", "acquisition"):
        fail(f"--channel-is takes channel or acquisition, not {channel_is}", 2)
    columns = {}
    for pair in map_ or ():
        target, _, column = pair.partition("=")
        if not target or not column:
            fail(f"--map takes TARGET=COLUMN, not {pair!r}", 2)
        columns[column] = target
    with with_database(IngestSettings) as settings:
        try:
            tally = asyncio.run(import_all(settings, files, source, Mapping(columns, channel_is)))
        except csv.Error as error:
            fail(str(error))
    if tally.before:
        typer.echo(f"{tally.before} rows were imported before")
    typer.echo(f"{tally.accepted} touchpoints are on the log")
    for reason, n in sorted(tally.rejected.items()):
        typer.echo(f"{n} refused: {reason}")
    if tally.rejected:
        raise typer.Exit(1)


async def import_all(settings: IngestSettings, files: list[Path], source: str | None, mapping: Mapping) -> Tally:
    """Imports the files one after the other; ValueError in a sentence if something does not fit."""
    sources = load_sources(settings.throughline_config)
    sender = next((one for one in sources if source in (None, one.name)), None)
    if sender is None:
        raise ValueError(f"no source is called {source}; there are {', '.join(one.name for one in sources)}")
    await prepare(settings)
    appender = open_appender(settings)
    await appender.start()
    try:
        tally = Tally()
        for file in files:
            importer = Importer(appender, sender, load_identity(settings.throughline_config), mapping, tally)
            await importer.run(file, Bookmark.of(settings.throughline_home, file, mapping, sender))
        return tally
    finally:
        await appender.stop()


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a file has been imported, by its content and the options: the same file under another name goes on."""

    path: Path
    digest: str

    @classmethod
    def of(cls, home: Path, file: Path, mapping: Mapping, source: Source) -> Bookmark:
        content = hashlib.blake2b(digest_size=16)
        with file.open("rb") as opened:
            while part := opened.read(1 << 20):
                content.update(part)
        digest = content.hexdigest()
        options = json.dumps([digest, mapping.columns, mapping.channel_is, source.name], sort_keys=True)
        name = hashlib.blake2b(options.encode(), digest_size=16).hexdigest()
        return cls(home / "imports" / name, digest)

    def read(self) -> int:
        """Rows that are done."""
        return int(self.path.read_text()) if self.path.exists() else 0

    def write(self, rows: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(str(rows))
        new.replace(self.path)


@dataclass(slots=True)
class Importer:
    """Imports a file in batches; each is on the log before the bookmark moves."""

    appender: Appender
    source: Source
    rules: IdentityRules
    mapping: Mapping
    tally: Tally

    async def run(self, file: Path, bookmark: Bookmark) -> None:
        done = bookmark.read()
        self.tally.before += done
        numbered = itertools.islice(enumerate(rows(file)), done, None)
        with progress(file, done) as show:
            while batch := list(itertools.islice(numbered, BATCH)):
                await self._append(batch, bookmark.digest, _kind(file) == "csv")
                done = batch[-1][0] + 1
                bookmark.write(done)
                show(done)

    async def _append(self, batch: list[tuple[int, Any]], digest: str, texts: bool) -> None:
        now = datetime.now(UTC)
        calls = [
            self.mapping.call(row, f"{digest}-{number}", texts=texts) if isinstance(row, dict) else row
            for number, row in batch
        ]
        parsed = parse_batch(json.dumps({"batch": calls}).encode())
        intake = Intake(
            source=self.source, arrival=Arrival.of(now, None, True), rules=self.rules, new_id=lambda: str(uuid4())
        )
        records: list[Record] = []
        letters: list[Record] = []
        for (number, _), raw, place in zip(batch, parsed.items, itertools.count(), strict=False):
            decision = accept(raw, intake)
            if isinstance(decision, Accepted):
                records.append(touchpoint_record(decision, TRACEPARENT, self.source.name.encode()))
            elif isinstance(decision, Rejection):
                letter = rejected_record(
                    decision, number, source=self.source.name, received_at=now, original=parsed.original(place),
                    traceparent=TRACEPARENT,
                )  # fmt: skip
                letters.append(letter)
                self.tally.rejected[decision.reason] += 1
        async for attempt in stamina.retry_context(on=LogUnavailable, attempts=20, timeout=120):
            with attempt:
                await self.appender.append(TOUCHPOINTS, records)
                await self.appender.append(REJECTED, letters)
        self.tally.accepted += len(records)


def rows(file: Path) -> Iterator[Any]:
    """The rows of a file: objects of JSON lines, or dictionaries of a CSV with a head."""
    with _open(file) as opened:
        if _kind(file) == "csv":
            yield from csv.DictReader(opened, restkey="more")
        else:
            yield from (_row(line) for line in opened if line.strip())


def _row(line: str) -> Any:
    """A line's value; the line itself, which is no object and will be refused, if it is not JSON or without bottom."""
    try:
        row = json.loads(line)
        return line if hygiene.depth(row) > 2 * hygiene.MAX_DEPTH else row
    except (ValueError, RecursionError):
        return line


def _number(text: str) -> Any:
    """A CSV has only texts: what reads like a number is one."""
    return json.loads(text) if _NUMBER.fullmatch(text) else text


def _kind(file: Path) -> Literal["csv", "jsonl"]:
    return "csv" if ".csv" in [suffix.lower() for suffix in file.suffixes] else "jsonl"


@contextlib.contextmanager
def _open(file: Path) -> Iterator[IO[str]]:
    """The text of a file, unzipped if it is zipped."""
    with file.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        plain = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if zipped else raw
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="")


class progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, file: Path, done: int) -> None:
        self._file, self._done = file, done
        self._bar: Progress | None = None
        self._told = 0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._bar.start()
            total = sum(1 for _ in rows(self._file))
            self._task = self._bar.add_task(self._file.name, total=total, completed=self._done)
        return self

    def __call__(self, done: int) -> None:
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif done - self._told >= 50 * BATCH:
            self._told = done
            typer.echo(f"{self._file.name}: {done} rows", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        typer.echo(f"{self._file.name}: {self._done} rows read", err=True)
