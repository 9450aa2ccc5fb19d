"""`maps check`: are the journey maps right? `maps diff`: how do they differ from what is live?"""

from __future__ import annotations

import asyncio
import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
import yaml

from shared.journey_map import JourneyMap, load_maps, parse_map
from shared.settings import Settings
from throughline.environment import fail, read_settings, with_database

app = typer.Typer(
    help="Check journey maps, and compare them with what is live.", no_args_is_help=True, add_completion=False
)


@app.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Map files; all configured ones if none is given.")] = None,
) -> None:
    """Say of each map whether it is right, and what is wrong if it is not."""
    try:
        maps = [parse_map(file.read_text(encoding="utf-8"), str(file)) for file in files or ()]
        maps = maps or load_maps(read_settings(Settings).throughline_config)
    except (ValueError, OSError) as error:
        fail(str(error))
    for one in maps:
        typer.echo(f"{one.map} version {one.version}: {' > '.join(stage.name for stage in one.stages)}")


@app.command()
def diff() -> None:
    """Show what the configured maps would change; exit code 1 if anything."""
    with with_database(Settings) as settings:
        configured = load_maps(settings.throughline_config)
        live = asyncio.run(_live(settings.database_url or ""))
    lines = list(_differences(configured, live))
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(1)
    typer.echo("nothing differs")


async def _live(database_url: str) -> dict[tuple[str, int], Any]:
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("select map, version, definition from map_versions where live")
    finally:
        await connection.close()
    return {(row[0], row[1]): json.loads(row[2]) for row in rows}


def _differences(configured: list[JourneyMap], live: dict[tuple[str, int], Any]) -> list[str]:
    wanted = {(one.map, one.version): one.definition() for one in configured}
    lines: list[str] = []
    for name in sorted({*wanted, *live}):
        before, after = (yaml.safe_dump(maps[name]).splitlines() if name in maps else [] for maps in (live, wanted))
        title = f"{name[0]} version {name[1]}"
        lines += difflib.unified_diff(before, after, f"{title}, live", f"{title}, configured", lineterm="")
    return lines
