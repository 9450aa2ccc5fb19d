"""`deadletters list | show`: what was refused, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import asyncpg
import typer

from shared.settings import Settings
from shared.touchpoint import moment
from throughline.environment import fail, with_database

app = typer.Typer(help="Look at what was refused.", no_args_is_help=True, add_completion=False)

LIST = """
    select id, at, source, reason, message from dead_letters
    where ($1::text is null or reason = $1) and ($2::text is null or source = $2) and id < $3
    order by id desc limit $4
"""
SHOW = 'select at, topic, partition, "offset", source, reason, message, data from dead_letters where id = $1'


@app.command("list")
def list_(
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    source: Annotated[str | None, typer.Option(help="Only those of this source.")] = None,
    before: Annotated[int, typer.Option(help="Only those with a smaller id.")] = 2**62,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:
    """List dead letters, newest first: id, when, source, reason, message."""
    for id_, at, sender, why, message in _fetch(LIST, reason, source, before, limit):
        typer.echo(f"{id_}\t{moment(at)}\t{sender}\t{why}\t{message}")


@app.command()
def show(id_: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Show one dead letter whole."""
    found = _fetch(SHOW, id_)
    if not found:
        fail(f"there is no dead letter {id_}")
    at, topic, partition, offset, source, reason, message, data = found[0]
    typer.echo(f"{moment(at)}  {topic}/{partition}@{offset}  {source}  {reason}: {message}")
    typer.echo(data.decode(errors="replace"))


def _fetch(statement: str, *arguments: Any) -> list[Any]:
    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(settings.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    with with_database(Settings) as settings:
        return asyncio.run(fetch())
