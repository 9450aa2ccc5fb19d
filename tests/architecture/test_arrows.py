"""The arrows between rooms hold, and a planted violation of each is caught."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("services", "shared", "throughline")
PLANTED = {
    "shared imports a service": ("shared/health.py", "import services.ingest"),
    "one service imports another": ("services/metrics/errors.py", "import services.stitcher"),
    "a service imports a command": ("services/metrics/errors.py", "import throughline"),
    "the journey core opens a socket": ("services/stitcher/journey/fold.py", "import socket"),
    "the journey core reads the clock": ("services/stitcher/journey/fold.py", "import time"),
    "analysis asks the database": ("services/metrics/analysis/funnel.py", "import asyncpg"),
    "accept does I/O": ("services/ingest/accept.py", "import asyncio"),
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([tool, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_arrows_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("violation", PLANTED)
def test_a_planted_violation_is_caught(violation: str, tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, line = PLANTED[violation]
    with (tmp_path / file).open("a") as planted:
        planted.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout


PURE = (
    "services/stitcher/journey/*.py", "services/metrics/analysis/*.py", "services/ingest/dialects/*.py",
    "services/ingest/exports/*.py",
    *(f"services/ingest/{name}.py" for name in (
        "accept", "bots", "channel", "consent", "encode", "hygiene", "identifiers", "paths", "plan", "policy",
        "privacy", "times",
    )),
)  # fmt: skip
IMPURE = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input", "read_text", "write_text", "urandom"}


def impure_calls(source: str) -> set[str]:
    """What the code calls that gives another answer, or does something else, the next time."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {f.id if isinstance(f, ast.Name) else f.attr for f in calls if isinstance(f, (ast.Name, ast.Attribute))}
    return names & IMPURE


def test_pure_rooms_ask_no_clock_no_dice_and_no_file() -> None:
    files = [file for pattern in PURE for file in ROOT.glob(pattern)]
    assert len(files) > len(PURE)
    assert {file.name: calls for file in files if (calls := impure_calls(file.read_text()))} == {}


def test_a_planted_look_at_the_clock_is_caught() -> None:
    assert impure_calls("from datetime import datetime\ndatetime.now()") == {"now"}


def importers() -> dict[str, set[str]]:
    """Module of shared -> the services (and commands) that import it, through other shared modules as well."""
    direct: defaultdict[str, set[str]] = defaultdict(set)
    for file in [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]:
        who = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("shared"):
                direct[node.module].add(who)
                for name in node.names:
                    direct[f"{node.module}.{name.name}"].add(who)
    found: dict[str, set[str]] = {}
    for module in direct:
        todo, seen = list(direct[module]), set()
        while todo:
            who = todo.pop()
            if who not in seen:
                seen.add(who)
                todo += direct.get(who, set()) if who.startswith("shared") else ()
        found[module] = {who.split(".")[1] if who.startswith("services") else "throughline"
                         for who in seen if not who.startswith("shared")}  # fmt: skip
    return found


def test_shared_holds_only_what_two_processes_import() -> None:
    found = importers()
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "shared").rglob("*.py")
        if file.name != "__init__.py"
    ]
    lonely = {module: found.get(module) for module in modules if len(found.get(module, ())) < 2}
    assert not lonely
