"""`settings`: every setting there is, its default and what it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from services.ingest.settings import IngestSettings
from services.metrics.settings import MetricsSettings
from services.stitcher.settings import StitcherSettings
from shared.settings import Settings


def rows() -> Iterator[tuple[str, str, str]]:
    """(name, default, sentence) of each setting, those of all services first."""
    seen: set[str] = set()
    for kind in (Settings, IngestSettings, StitcherSettings, MetricsSettings):
        for name, field in kind.model_fields.items():
            if name not in seen:
                seen.add(name)
                default = "" if field.default is None else str(field.default)
                yield name.upper(), default, field.description or ""


def show() -> None:
    """List every setting: its name in the environment, its default, what it does."""
    if not sys.stdout.isatty():
        for name, default, sentence in rows():
            print(f"{name}={default}  # {sentence}")
        return
    table = Table("name", "default", "what it does", box=None)
    for row in rows():
        table.add_row(*row)
    Console().print(table)
