"""The console script: one command a line, each in a module of its own, loaded when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("supervisor", "run_command"),
    "ingest": ("services", "ingest"),
    "stitcher": ("services", "stitcher"),
    "metrics": ("services", "metrics"),
    "migrate": ("services", "migrate"),
    "import": ("importing", "import_files"),
    "export": ("exporting", "export"),
    "verify": ("maintenance", "verify"),
    "replay": ("maintenance", "replay"),
    "deadletters": ("deadletters", "app"),
    "keys": ("keys", "app"),
    "hooks": ("hooks", "app"),
    "acquisition": ("acquisition", "explain_acquisition"),
    "links": ("links", "app"),
    "maps": ("maps", "app"),
    "settings": ("settings", "show"),
}


class _Loading(TyperGroup):
    """Loads a command's module when it is asked for: a service need not wait for the code of the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found: Any = getattr(importlib.import_module(f"throughline.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
            alone.command(cmd_name)(found)
            found = alone
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    help="Throughline: live customer journeys from event streams.",
    cls=_Loading,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _throughline() -> None:
    """Throughline: live customer journeys from event streams."""
