"""`deadletters list | show | redrive`: what was refused, and why; and whether it is taken by now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer

from services.ingest.settings import IngestSettings
from shared.seals import seals_of
from shared.settings import Settings
from shared.touchpoint import micros, moment
from throughline.environment import fail, with_database
from throughline.redriving import Letter, Redriven, redrive

app = typer.Typer(
    help="Look at what was refused, and have it judged again.", no_args_is_help=True, add_completion=False
)

LETTERS = f"""
    select {", ".join(Letter.COLUMNS)} from dead_letters
    where ($1::text is null or source = $1) and ($2::text is null or reason = $2)
      and coalesce(received_at, at) >= $3 and coalesce(received_at, at) < $4 and ($5::bigint is null or id = $5)
"""
LIST = f"{LETTERS} and id < $6 order by id desc limit $7"
SHOW = f"select {', '.join(Letter.COLUMNS)} from dead_letters where id = $1"


def _instant(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no time; write for example 2026-11-23T10:00:00Z or 2026-11-23"
        ) from error
    return micros(found if found.tzinfo else found.replace(tzinfo=UTC))


Source = Annotated[str | None, typer.Option(help="Only those of this source.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]
Since = Annotated[int | None, typer.Option(parser=_instant, metavar="TIME", help="Only those received from then on.")]
Until = Annotated[int | None, typer.Option(parser=_instant, metavar="TIME", help="Only those received before then.")]
Id = Annotated[int | None, typer.Option("--id", help="Only this one.")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters; None asks for all. Instants in microseconds."""

    source: str | None
    reason: str | None
    since: int | None
    until: int | None
    id: int | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the statements want them."""
        until = 2**62 if self.until is None else self.until
        return self.source, self.reason, self.since or 0, until, self.id


@app.command("list")
def list_(
    source: Source = None, reason: Reason = None, since: Since = None, until: Until = None, id_: Id = None,
    before: Annotated[int, typer.Option(help="Only those with a smaller id.")] = 2**62,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:  # fmt: skip
    """List dead letters, newest first: id, when, source, reason, message, and what a redrive came to."""
    for one in _fetch(LIST, *Filters(source, reason, since, until, id_).arguments, before, limit):
        again = f"\tredriven {moment(one.redriven_at)}: {one.outcome}" if one.redriven_at else ""
        typer.echo(f"{one.id}\t{moment(one.at)}\t{one.source}\t{one.reason}\t{one.message}{again}")


@app.command()
def show(id_: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Show one dead letter whole."""
    found = _fetch(SHOW, id_)
    if not found:
        fail(f"there is no dead letter {id_}")
    [one] = found
    typer.echo(f"{moment(one.at)}  {one.place}  {one.source}  {one.reason}: {one.message}")
    with with_database(Settings) as settings:
        data, _ = one.opened(seals_of(settings.throughline_deadletter_key))
    typer.echo(data.decode(errors="replace"))


@app.command("redrive")
def redrive_(
    source: Source = None, reason: Reason = None, since: Since = None, until: Until = None, id_: Id = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most, oldest first.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Those too that have been redriven before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
) -> None:  # fmt: skip
    """Judge rejected touchpoints by today's configuration. What is accepted goes on the log, once however often."""
    if not (source or reason or since or until or id_ or limit):
        fail("say which: --source, --reason, --since, --until, --id, or --limit for the oldest", 2)
    statement = f"""{LETTERS} and topic = $6 and id > $7 and ($8 or redriven_at is null) order by id limit $9"""
    arguments = Filters(source, reason, since, until, id_).arguments
    with with_database(IngestSettings) as settings:
        told = asyncio.run(redrive(settings, statement, arguments, again=again, limit=limit, dry_run=dry_run))
    _tell(told, dry_run)


def _tell(told: Redriven, dry_run: bool) -> None:
    typer.echo(f"{told.accepted} {'would be accepted' if dry_run else 'touchpoints are on the log'}")
    for reason, n in sorted(told.rejected.items()):
        typer.echo(f"{n} {'would be ' if dry_run else ''}rejected again: {reason}")
    for why, n in sorted(told.left.items()):
        typer.echo(f"{n} left as they are: {why}")
    if told.rejected or told.left:
        raise typer.Exit(1)


def _fetch(statement: str, *arguments: Any) -> list[Letter]:
    async def fetch() -> list[Letter]:
        connection = await asyncpg.connect(settings.database_url)
        try:
            return [Letter(*row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    with with_database(Settings) as settings:
        return asyncio.run(fetch())
