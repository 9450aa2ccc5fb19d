"""`links show | revoke | restore`: why is this his, and undo it. Commands go through the log, as over HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import asyncpg
import typer

from services.ingest.encode import command_record
from services.ingest.errors import Refusal
from services.ingest.revocations import revocation, withdrawal
from shared.eventlog.open import open_appender
from shared.identifiers import load_identity, normalise, uid
from shared.settings import Settings
from shared.touchpoint import TOUCHPOINTS, Command, moment
from throughline.environment import fail, with_database
from throughline.importing import TRACEPARENT

app = typer.Typer(
    help="Show, revoke and restore the links between identifiers.", no_args_is_help=True, add_completion=False
)

CONNECTED = """
    select low.key, high.key, l.earliest, l.earliest_id, l.latest, l.latest_id, l.revoked
    from links l join identifiers low on low.uid = l.lower join identifiers high on high.uid = l.higher
    where l.lower = any($1::uuid[]) or l.higher = any($1::uuid[])
    order by 1, 2
"""
ALIASED = """
    select a.key, b.key, l.time, l.touchpoint_id, l.revoked
    from aliases l join identifiers a on a.uid = l.a join identifiers b on b.uid = l.b
    where l.a = any($1::uuid[]) or l.b = any($1::uuid[]) order by 1, 2
"""
SAME_PROFILE = """
    select uid from identifiers where profile = (select profile from identifiers where uid = $1)
"""


@app.command()
def show(identifier: Annotated[str, typer.Argument(help="kind:value, for example user_id:u1")]) -> None:
    """Show every link of the customer that an identifier stands for, with its evidence."""
    kind, _, value = identifier.partition(":")
    with with_database(Settings) as settings:
        lines = asyncio.run(_links(settings.database_url or "", f"{kind}:{normalise(kind, value)}"))
    if lines is None:
        fail(f"nothing is known of {identifier}")
    for line in lines or ["no links"]:
        typer.echo(line)


async def _links(database_url: str, key: str) -> list[str] | None:
    connection = await asyncpg.connect(database_url)
    try:
        members = [row[0] for row in await connection.fetch(SAME_PROFILE, uid(key))]
        if not members:
            return None
        links = await connection.fetch(CONNECTED, members)
        aliases = await connection.fetch(ALIASED, members)
    finally:
        await connection.close()
    return [
        f"{low} -> {high}  {moment(first)} by {first_id} .. {moment(last)} by {last_id}{_mark(revoked)}"
        for low, high, first, first_id, last, last_id, revoked in links
    ] + [f"{a} = {b}  {moment(at)} by {by}{_mark(revoked)}" for a, b, at, by, revoked in aliases]


def _mark(revoked: bool) -> str:
    return "  REVOKED" if revoked else ""


@app.command()
def revoke(
    lower: Annotated[str, typer.Argument(help="kind:value; of an alias, user_id:value")],
    higher: Annotated[str, typer.Argument(help="kind:value; of an alias, user_id:value")],
    reason: Annotated[str, typer.Option(help="Why, for those who ask later.")] = "",
) -> None:
    """From now on a link, or an alias of two user ids, counts for nothing. Prints the id that restores it."""
    with with_database(Settings) as settings:
        rules = load_identity(settings.throughline_config)
        ends = [end.removeprefix("user_id:") for end in (lower, higher)]
        is_alias = lower.startswith("user_id:") and higher.startswith("user_id:")
        id_ = str(uuid4())
        try:
            command = revocation(
                id_=id_, at=datetime.now(UTC), reason=reason, rules=rules,
                lower=None if is_alias else lower, higher=None if is_alias else higher,
                alias=(ends[0], ends[1]) if is_alias else None,
            )  # fmt: skip
        except Refusal as refusal:
            fail(refusal.detail or str(refusal), 2)
        _send(settings, command)
    typer.echo(id_)


@app.command()
def restore(
    id_: Annotated[str, typer.Argument(metavar="ID", help="the id of a revocation")],
    reason: Annotated[str, typer.Option(help="Why, for those who ask later.")] = "",
) -> None:
    """Withdraw a revocation."""
    with with_database(Settings) as settings:
        try:
            command = withdrawal(id_, datetime.now(UTC), reason)
        except Refusal as refusal:
            fail(refusal.detail or str(refusal), 2)
        _send(settings, command)


def _send(settings: Settings, command: Command) -> None:
    async def append() -> None:
        appender = open_appender(settings)
        await appender.start()
        try:
            await appender.append(TOUCHPOINTS, [command_record(command, TRACEPARENT)])
        finally:
            await appender.stop()

    asyncio.run(append())
