"""`import FILE…`: history from files, through the same checks and the same log as touchpoints that come over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import stamina
import typer

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.segment import parse_batch
from services.ingest.encode import rejected_record, touchpoint_record
from services.ingest.exports import plain
from services.ingest.exports.export import Call, Export, Reading
from services.ingest.exports.formats import EXPORTS, recognised
from services.ingest.exports.plain import Mapping, MappingFile, read_mapping
from services.ingest.exports.values import without_repeats
from services.ingest.policies import load_policy
from services.ingest.policy import Policy
from services.ingest.reasons import Rejection
from services.ingest.redrive import COVERED
from services.ingest.settings import IngestSettings
from services.ingest.times import Arrival
from shared.eventlog.open import open_appender
from shared.eventlog.port import Appender, LogUnavailable, Record
from shared.identifiers import IdentityRules, load_identity
from shared.keys import Source, load_sources
from shared.seals import seals_of
from shared.touchpoint import REJECTED, TOUCHPOINTS
from throughline.environment import fail, read_settings, with_database
from throughline.files import Damaged, Row, rows
from throughline.progress import progress
from throughline.services import prepare
from throughline.tally import Tally

BATCH: Final = 1000
LOOKED_AT: Final = 200  # rows that say which tool a file is from
TRACEPARENT: Final = b"00-00000000000000000000000000000001-0000000000000001-00"

Append = Callable[[list[Record], list[Record]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sending:
    """In whose name touchpoints are sent, and what is done with them therefore."""

    source: Source
    policy: Policy
    rules: IdentityRules
    seal: Callable[[bytes], bytes] | None = None

    @classmethod
    def of(cls, settings: IngestSettings, name: str | None) -> Sending:
        """The named source, or the first one; ValueError in a sentence if something does not fit."""
        config = settings.throughline_config
        sources = load_sources(config)
        source = next((one for one in sources if name in (None, one.name)), None)
        if source is None:
            raise ValueError(f"no source is called {name}; there are {', '.join(one.name for one in sources)}")
        seals = seals_of(settings.throughline_deadletter_key)
        policy = load_policy(source, config, settings.throughline_hash_key)
        return cls(source, policy, load_identity(config), seals.seal if seals else None)


class UnknownFormat(ValueError):
    """Nothing in a file says which tool it is from."""


@dataclass(frozen=True, slots=True)
class Options:
    """How files are read: in whose name (none: the first source), as which export (none: what it looks like), with
    which columns, in which time zone and encoding."""

    source: str | None = None
    export: Export | None = None
    mapping: Mapping = field(default_factory=Mapping)
    timezone: str = "UTC"
    encoding: str = "utf-8"

    def export_of(self, file: Path) -> Export:
        """What the file is an export of; UnknownFormat, or Damaged."""
        first = itertools.islice(rows(file, self.encoding), LOOKED_AT)
        export = self.export or recognised(row.value for row in first)
        if export is None and next(rows(file, self.encoding), None) is not None:
            raise UnknownFormat(
                f"{file.name} looks like none of the exports that are known: {', '.join(EXPORTS)}; --format says which "
                "one it is, and --map or --mapping what its columns are"
            )
        return plain.export(self.mapping) if export in (None, plain.EXPORT) else export


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON lines or CSV, as they are or in a .gz, .zst or .zip.", exists=True, dir_okay=False),
    ],
    source: Annotated[str | None, typer.Option(help="In whose name; the first of sources.yaml if not given.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(EXPORTS)}; what the file looks like if not given.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="TARGET=COLUMN, e.g. user=customer or properties.revenue=amount; repeatable."),
    ] = None,
    mapping_file: Annotated[
        Path | None,
        typer.Option(
            "--mapping", help="A YAML file that says what the columns are: docs/clients/imports.md.", dir_okay=False
        ),
    ] = None,
    channel_is: Annotated[
        str | None, typer.Option(help="What a column named channel holds: channel (if not given) or acquisition.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the times that name no zone, e.g. Europe/Berlin; UTC if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be accepted, and why not; needs no database.")
    ] = False,
) -> None:
    """Import history from files: your own, or the exports of other tools. Goes on where it stopped; importing a file
    twice changes nothing."""
    options = _options(source, format_, map_ or [], mapping_file, channel_is, timezone)
    if dry_run:
        tally, source = _foreseen(read_settings(IngestSettings), files, options)
        lines = tally.foreseen(source)
    else:
        with with_database(IngestSettings) as settings:
            tally = _known(lambda: asyncio.run(import_all(settings, files, options)))
        lines = tally.done()
    for line in lines:
        typer.echo(line)
    for line in tally.problems():
        typer.echo(line, err=True)
    if tally.found_a_problem:
        raise typer.Exit(1)


def _options(
    source: str | None, format_: str | None, pairs: list[str], file: Path | None, channel_is: str | None,
    timezone: str | None,
) -> Options:  # fmt: skip
    """What the command line says, over what the mapping file says; ends the command if something is wrong."""
    if format_ is not None and format_ not in EXPORTS:
        fail(f"--format takes {', '.join(EXPORTS)}, not {format_}", 2)
    if channel_is not in (None, "channel", "acquisition"):
        fail(f"--channel-is takes channel or acquisition, not {channel_is}", 2)
    columns = dict(map(_pair, pairs))
    given = {"columns": columns, "channel_is": channel_is, "timezone": timezone}
    try:
        told = read_mapping(file.read_text(encoding="utf-8")) if file is not None else MappingFile()
        merged = {**told.model_dump(), **{name: value for name, value in given.items() if value}}
        whole = MappingFile.model_validate({**merged, "columns": {**told.columns, **columns}})
    except (OSError, ValueError) as error:
        fail(f"{file or '--timezone'}: {error}", 2)
    mapped = bool(columns or channel_is) or file is not None
    if mapped and format_ not in (None, "plain"):
        fail(f"--map, --mapping and --channel-is say what columns are; the columns of {format_} are known", 2)
    export = EXPORTS.get("plain" if mapped else format_ or "")
    return Options(source, export, whole.mapping, whole.timezone, whole.encoding)


def _pair(pair: str) -> tuple[str, str]:
    target, _, column = pair.partition("=")
    if not target or not column:
        fail(f"--map takes TARGET=COLUMN, not {pair!r}", 2)
    return target, column


def _known(work: Callable[[], Tally]) -> Tally:
    try:
        return work()
    except UnknownFormat as error:
        fail(str(error), 2)


def _foreseen(settings: IngestSettings, files: list[Path], options: Options) -> tuple[Tally, str]:
    """What an import would do, and in whose name; touches neither log nor database nor bookmarks."""
    try:
        sending = Sending.of(settings, options.source)
    except ValueError as error:
        fail(str(error))
    return _known(lambda: asyncio.run(_all(files, options, sending, _nowhere, None))), sending.source.name


async def _nowhere(_: list[Record], __: list[Record]) -> None:
    """Where the records of a dry run go."""


async def import_all(settings: IngestSettings, files: list[Path], options: Options) -> Tally:
    """Imports the files one after the other; ValueError in a sentence if something does not fit."""
    sending = Sending.of(settings, options.source)
    for file in files:
        _look_at(file, options)
    await prepare(settings)
    appender = open_appender(settings)
    await appender.start()
    try:
        return await _all(files, options, sending, _to(appender), settings.throughline_home)
    finally:
        await appender.stop()


def _look_at(file: Path, options: Options) -> None:
    """Raises UnknownFormat before anything is imported; what is damaged is told when its turn comes."""
    try:
        options.export_of(file)
    except Damaged:
        return


def _to(appender: Appender) -> Append:
    async def append(records: list[Record], letters: list[Record]) -> None:
        async for attempt in stamina.retry_context(on=LogUnavailable, attempts=20, timeout=120):
            with attempt:
                await appender.append(TOUCHPOINTS, records)
                await appender.append(REJECTED, letters)

    return append


async def _all(files: list[Path], options: Options, sending: Sending, append: Append, home: Path | None) -> Tally:
    tally = Tally()
    for file in files:
        try:
            export = options.export_of(file)
            digest = digest_of(file)
            bookmark = Bookmark.of(home, digest, export, options, sending.source) if home is not None else None
            importer = Importer(append, sending, export, options, digest, tally)
            await importer.run(file, bookmark)
        except Damaged as error:
            tally.damaged.append(str(error))
    return tally


def digest_of(file: Path) -> str:
    content = hashlib.blake2b(digest_size=16)
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            content.update(part)
    return content.hexdigest()


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a file has been imported, by its content and the options: the same file under another name goes on."""

    path: Path

    @classmethod
    def of(cls, home: Path, digest: str, export: Export, options: Options, source: Source) -> Bookmark:
        said = [digest, export.name, asdict(options.mapping), options.timezone, options.encoding, source.name]
        text = json.dumps(said, sort_keys=True, default=str)
        return cls(home / "imports" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest())

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

    append: Append
    sending: Sending
    export: Export
    options: Options
    digest: str
    tally: Tally

    async def run(self, file: Path, bookmark: Bookmark | None) -> None:
        done = bookmark.read() if bookmark is not None else 0
        self.tally.before += done
        numbered = itertools.islice(enumerate(rows(file, self.options.encoding)), done, None)
        with progress(file, self.export, done) as show:
            for batch in _batches(numbered):
                await self.append(*self._decide(batch))
                done = batch[-1][0] + 1
                if bookmark is not None:
                    bookmark.write(done)
                show(done)

    def _decide(self, batch: list[tuple[int, Row]]) -> tuple[list[Record], list[Record]]:
        """The records of the touchpoints and of the dead letters."""
        now = datetime.now(UTC)
        found = without_repeats([self._calls(number, row) for number, row in batch])
        calls = [(number, row, call) for (number, row), calls in zip(batch, found, strict=True) for call in calls]
        parsed = parse_batch(_encoded({"batch": [call for _, _, call in calls]}))
        source, policy = self.sending.source, self.sending.policy.on({})
        arrival = Arrival.of(now, None, True)
        intake = Intake(
            source=source, arrival=arrival, rules=self.sending.rules, new_id=lambda: str(uuid4()), policy=policy
        )
        records: list[Record] = []
        letters: list[Record] = []
        for raw, (number, row, call) in zip(parsed.items, calls, strict=True):
            decision = accept(raw, intake)
            if isinstance(decision, Accepted):
                self.tally.accept(decision)
                records.append(touchpoint_record(decision, TRACEPARENT, source.name.encode()))
                continue
            sent = _encoded(call)
            original = policy.letter(raw, sent)
            wrong = Rejection(decision.reason, f"{row.place}: {decision.message}", decision.id)
            self.tally.reject(wrong, original.decode())
            letter = rejected_record(
                wrong, number, source=source.name, received_at=now, original=original, traceparent=TRACEPARENT,
                request="" if original is sent else COVERED, seal=self.sending.seal,
            )  # fmt: skip
            letters.append(letter)
        return records, letters

    def _calls(self, number: int, row: Row) -> list[Call]:
        """What a row says; what is no object stands for itself, to be refused."""
        if not isinstance(row.value, dict):
            return [row.value]
        calls = self.export.calls(row.value, Reading(ZoneInfo(self.options.timezone), row.texts))
        for call in calls:
            call.setdefault("messageId", f"{self.digest}-{number}")
        return calls


def _encoded(value: Any) -> bytes:
    """As JSON; the slow way writes what the fast one refuses: lone surrogates, whole numbers beyond 64 bit."""
    try:
        return msgspec.json.encode(value)
    except (ValueError, OverflowError):
        return json.dumps(value).encode()


def _batches(numbered: Iterator[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    """Of BATCH rows; what could be read before a file turns out to be damaged is a batch too."""
    batch: list[tuple[int, Row]] = []
    try:
        for one in numbered:
            batch.append(one)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except Damaged:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
