"""What an operator does beside the running services: look, export, undo, verify, replay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.pipeline import Pipeline, eventually

HISTORY = [
    {"id": "1", "anonymous": "a1", "event": "Product Viewed", "time": "2026-01-01T10:00:00Z"},
    {"id": "2", "anonymous": "a1", "user": "u1", "event": "Product Added", "time": "2026-01-01T10:05:00Z"},
    {"id": "3", "event": "Product Added", "time": "2026-01-01T10:05:00Z"},
]


def call(pipeline: Pipeline, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "throughline", *words]
    return subprocess.run(command, env=pipeline.whole_environment, capture_output=True, text=True, check=False)


def lines(pipeline: Pipeline, *words: str) -> list[str]:
    done = call(pipeline, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


async def test_an_operator_looks_undoes_and_verifies(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(row) + "\n" for row in HISTORY))
    with pipeline.running():
        await pipeline.ready()
        imported = call(pipeline, "import", str(history))
        assert (imported.returncode, imported.stdout.splitlines()[-1]) == (1, "1 refused: identifier_missing")

        async def one_customer() -> bool:
            return len(lines(pipeline, "export", "shop")) == 1

        await eventually(one_customer)
        (link,) = lines(pipeline, "links", "show", "user_id:u1")
        assert link.startswith("anonymous_id:a1 -> user_id:u1  2026-01-01 10:05:00+00:00 by 2")
        (id_,) = lines(pipeline, "links", "revoke", "anonymous_id:a1", "user_id:u1", "--reason", "a shared tablet")

        async def two_customers() -> bool:
            return len(lines(pipeline, "export", "shop", "--format", "csv")) == 3  # with the head

        await eventually(two_customers)
        assert lines(pipeline, "links", "show", "user_id:u1")[0].endswith("REVOKED")
        lines(pipeline, "links", "restore", id_)
        await eventually(one_customer)
        (letter,) = lines(pipeline, "deadletters", "list", "--reason", "identifier_missing")
        assert '"Product Added"' in lines(pipeline, "deadletters", "show", letter.split("\t")[0])[1]
        assert lines(pipeline, "maps", "diff") == ["nothing differs"]
        assert lines(pipeline, "verify")[0].startswith("verified")
        assert lines(pipeline, "replay") == ["replayed"]
        assert await one_customer()
        assert lines(pipeline, "verify")[0].startswith("verified")
