"""The console script, on a database of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.pipeline import ROOT
from throughline.cli import app
from throughline.ports import free_port


@pytest.fixture
def run(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the console script with the shipped configuration."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("METRICS_PORT", str(free_port()))
    monkeypatch.setenv("THROUGHLINE_CONFIG", str(ROOT / "deploy" / "config"))

    def call(*words: str | Path, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], input=typed)

    return call
