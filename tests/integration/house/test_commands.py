"""Commands that need no service: they say what is, what is wrong and what to do, and exit with 0, 1 or 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.keys import hashed
from tests.support.pipeline import ROOT
from tests.support.postgres import sibling
from throughline.settings import rows

SHOP = ROOT / "deploy/config/maps/shop.yaml"


def test_every_setting_is_listed_with_its_default_and_a_sentence(run: Any) -> None:
    listed = run("settings").stdout.splitlines()
    assert "INGEST_PORT=8080  # port of the ingest API" in listed
    assert {line.split("=")[0] for line in listed} >= {"DATABASE_URL", "KAFKA_PARTITIONS", "STITCHER_PORT", "LOG_LEVEL"}
    assert all(sentence for _, _, sentence in rows())


def test_a_wrong_setting_is_said(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PARTITIONS", "many")
    done = run("migrate")
    assert done.exit_code == 2
    assert done.stderr.startswith("throughline: KAFKA_PARTITIONS: ")


def test_no_command_is_wrong_use(run: Any) -> None:
    assert run("nosuch").exit_code == 2
    assert run("links", "show").exit_code == 2


def test_the_shipped_maps_are_right(run: Any) -> None:
    done = run("maps", "check")
    assert done.exit_code == 0
    assert "shop version 1: awareness > discovery" in done.stdout


def test_a_wrong_map_is_said(run: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SHOP.read_text().replace("timeout: 30d", "timeout: soon"))
    done = run("maps", "check", wrong)
    assert done.exit_code == 1
    assert "'soon' is no duration" in done.stderr


def test_what_is_configured_but_not_live_differs(run: Any) -> None:
    done = run("maps", "diff")
    assert done.exit_code == 1
    assert "+++ shop version 1, configured" in done.stdout


def test_nothing_stored_is_as_it_should_be(run: Any) -> None:
    assert run("verify").exit_code == 0
    assert run("deadletters", "list").stdout == ""


def test_what_is_not_there_is_said(run: Any) -> None:
    assert "nothing is known of user_id:u1" in run("links", "show", "user_id:u1").stderr
    assert "there is no dead letter 7" in run("deadletters", "show", "7").stderr
    done = run("export", "shop")
    assert done.exit_code == 1
    assert "the metrics service does not answer" in done.stderr


def test_a_link_that_goes_down_cannot_be_revoked(run: Any) -> None:
    done = run("links", "revoke", "user_id:u1", "anonymous_id:a1")
    assert done.exit_code == 2
    assert done.stderr.startswith("throughline: ")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://nobody:wrong@{host}/nowhere", "password authentication failed"),
        ("{server}/nowhere", 'database "nowhere" does not exist'),
        ("{server}/postgres", "`throughline migrate` makes them"),
        ("postgresql://127.0.0.1:1/x", "Connect call failed"),
        ("mysql://localhost/x", "scheme"),
    ],
)
def test_a_database_that_is_not_as_it_should_be_is_said(
    run: Any, database: str, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    server = sibling(database, "")[:-1]
    monkeypatch.setenv("DATABASE_URL", url.format(server=server, host=server.split("@")[1]))
    done = run("verify")
    assert done.exit_code == 1
    assert sentence in done.stderr


def test_a_new_key_comes_with_its_hash(run: Any) -> None:
    key, digest = (line.split()[1] for line in run("keys", "new").stdout.splitlines())
    assert hashed(key) == digest
    assert run("keys", "hash", typed=f"{key}\n").stdout.strip() == digest
    assert run("keys", "hash", typed="").exit_code == 2
