"""`hooks check`: are the webhooks of the sources right? `hooks try`: what would become of a body?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.hooks import PATH, parsed
from services.ingest.dialects.mapping import mapping_of
from services.ingest.errors import Refusal
from services.ingest.hook_files import environment, load_hooks, written
from services.ingest.times import Arrival
from shared.identifiers import load_identity
from shared.keys import Source, load_sources
from shared.settings import Settings
from throughline.environment import fail, read_settings

app = typer.Typer(help="Check and try the mappings of webhooks.", no_args_is_help=True, add_completion=False)


@dataclass(frozen=True)
class _Tried:
    """A request that nobody sent."""

    body: bytes
    headers: Mapping[bytes, bytes]
    method: str = "POST"
    path: str = PATH
    query: Mapping[str, str] = field(default_factory=dict)


@app.command()
def check() -> None:
    """Say of each source that takes webhooks whether its mapping is right and its secret there."""
    config = read_settings(Settings).throughline_config
    try:
        hooks = load_hooks(
            load_sources(config), config, load_identity(config), environment(), lambda: datetime.now(UTC)
        )
    except (ValueError, OSError) as error:
        fail(str(error))
    for name in hooks:
        typer.echo(f"{name}: {PATH}{name}")


@app.command("try")
def try_(
    name: Annotated[str, typer.Argument(help="A source with a hook, or a ready mapping.")],
    file: Annotated[Path, typer.Argument(help="A body, as it is sent; - is the standard input.")],
    header: Annotated[list[str] | None, typer.Option(help="A header, as name:value.")] = None,
    form: Annotated[bool, typer.Option("--form", help="The body is a form, not JSON.")] = False,
) -> None:
    """Show what touchpoints a body would become, and why some would not; no signature is looked at, nothing is sent."""
    config = read_settings(Settings).throughline_config
    pairs = [one.partition(":") for one in ["content-type:application/x-www-form-urlencoded"] * form + (header or [])]
    headers = {key.strip().lower().encode(): value.strip().encode() for key, _, value in pairs}
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        source = _source(name, config)
        found = parsed(mapping_of(written(source.hook or name, config)), _Tried(body, headers), source.name)
        intake = Intake(
            source=source, arrival=Arrival(at=datetime.now(UTC)), rules=load_identity(config), new_id=lambda: ""
        )
    except Refusal as refusal:
        fail(str(refusal.problem()["detail"]))
    except (ValueError, OSError) as error:
        fail(str(error))
    decisions = [accept(raw, intake) for raw in found.items]
    for one in decisions:
        shown = one.value if isinstance(one, Accepted) else msgspec.json.encode(one)
        typer.echo(shown.decode())
    raise typer.Exit(0 if decisions and all(isinstance(one, Accepted) for one in decisions) else 1)


def _source(name: str, config: Path) -> Source:
    """The source of this name, else one that takes the ready mapping of this name."""
    configured = [one for one in load_sources(config) if one.name == name and one.hook is not None]
    return configured[0] if configured else Source(name=name, kind="server", hook=name)
