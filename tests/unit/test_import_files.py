"""`import` reads files as people have them, and says what it would do before it does it."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner, Result

from tests.support.imported import imported
from tests.support.pipeline import ROOT
from throughline.cli import app
from throughline.files import Damaged, rows
from throughline.importing import Options, UnknownFormat
from throughline.tally import shortened

SAMPLES = ROOT / "tests" / "data" / "exports"
LINES = b'{"user": "u1", "event": "a"}\n\n{"user": "u2", "event": "b"}\n'


def zipped(file: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def read(file: Path) -> list[tuple[str, Any]]:
    return [(row.place, row.value) for row in rows(file)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_packed_or_not_a_file_has_the_same_rows(tmp_path: Path, pack: Any) -> None:
    file = tmp_path / "h.jsonl"
    file.write_bytes(pack(LINES))
    assert read(file) == [("h.jsonl:1", {"user": "u1", "event": "a"}), ("h.jsonl:3", {"user": "u2", "event": "b"})]


def test_a_zip_is_the_files_in_it_by_name(tmp_path: Path) -> None:
    file = zipped(
        tmp_path / "e.zip", **{"b/2.csv": b"user;n\nu3;1\n", "a/1.json.gz": gzip.compress(LINES), "__MACOSX/x": b"{"}
    )
    assert read(file) == [
        ("e.zip/a/1.json.gz:1", {"user": "u1", "event": "a"}),
        ("e.zip/a/1.json.gz:3", {"user": "u2", "event": "b"}),
        ("e.zip/b/2.csv:2", {"user": "u3", "n": "1"}),
    ]


@pytest.mark.parametrize("text", ['[\n{"a": 1},\n{"a": 2}\n]\n', '[{"a": 1}, {"a": 2}]', '{"a": 1}\r\n{"a": 2}'])
def test_a_list_of_records_is_its_members(tmp_path: Path, text: str) -> None:
    file = tmp_path / "list.json"
    file.write_text(text, newline="")
    assert [value for _, value in read(file)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_are_parted_as_the_head_says(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(delimiter.join(["user", "event"]) + "\n" + delimiter.join(["u1", '"a\nb"']) + "\n")
    assert read(file) == [("t.csv:3", {"user": "u1", "event": "a\nb"})]


def test_what_is_no_json_is_there_as_text_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "h.jsonl"
    file.write_bytes(b'{"user": "u"}\nno json\n' + b'{"a":' * 5000 + b"\n\xff\n")
    (_, good), (second, text), (third, deep), (_, broken) = read(file)
    assert (good, text, second, third) == ({"user": "u"}, "no json", "h.jsonl:2", "h.jsonl:3")
    assert (deep[:5], broken) == ('{"a":', "�")


ODD = [
    '{"user": "u", "event": "e", "n": %s}' % ("9" * 5000),
    '{"user": "u", "event": "e", "n": [1e400, NaN, 1180591620717411303424]}',
    '{"user": "\\ud800", "event": "e"}',
    '{"user": "u", "event": "e", "x": %s}' % ("[" * 79 + "]" * 79),
    '{"user": "u", "event": "e", "x": %s}' % ("[" * 900 + "]" * 900),
    '{"user": ["a"], "event": {}}',
    '{"user": "u", "event": "e", "time": "%s"}' % ("9" * 5000),
    "17",
    "null",
    "{}",
    "what?",
]


async def test_no_line_whatever_ends_the_import_or_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text("\n".join([*ODD, '{"user": "u", "event": "last"}']))
    touchpoints, letters, _ = await imported(file)
    assert [one["event"] for one in touchpoints] == ["e", "last"]
    assert touchpoints[0]["properties"] == {"n": [None, None, 2.0**70]}
    assert [letter["reason"] for letter in letters] == [
        "not_an_object", "identifier_invalid", "too_deep", "not_an_object", "identifier_invalid", "time_invalid",
        "not_an_object", "not_an_object", "identifier_missing", "not_an_object",
    ]  # fmt: skip
    assert [letter["message"].split(": ")[0] for letter in letters] == [
        f"odd.jsonl:{line}" for line in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.jsonl.gz", gzip.compress(LINES * 50)[:-20]),
        ("cut.jsonl.zst", zstandard.compress(LINES * 50, 1)[:8] + b"\xff" * 9),
        ("cut.zip", b"PK\x03\x04 and no more"),
    ],
    ids=["gzip", "zstd", "zip"],
)
def test_a_damaged_file_is_said(tmp_path: Path, name: str, data: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(Damaged, match=f"{name} is damaged: "):
        read(file)


async def test_what_came_before_the_damage_is_imported(tmp_path: Path) -> None:
    many = b"".join(b'{"user": "u%d", "event": "e"}\n' % n for n in range(5000))
    whole = gzip.compress(many, compresslevel=0)
    file = tmp_path / "cut.jsonl.gz"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Damaged):
        await imported(file)
    (tmp_path / "whole.jsonl.gz").write_bytes(whole)
    assert len((await imported(tmp_path / "whole.jsonl.gz"))[0]) == 5000


def test_a_file_of_no_known_tool_is_refused_with_the_names_of_those_that_are(tmp_path: Path) -> None:
    file = tmp_path / "h.jsonl"
    file.write_text('{"what": "ever"}\n')
    with pytest.raises(UnknownFormat, match="none of the exports that are known: ga4, amplitude, mixpanel, posthog"):
        Options().export_of(file)


def test_an_example_shows_nothing_that_a_terminal_obeys() -> None:
    assert shortened('{"a":"\x1b[2J"}') == '{"a":"\\u001b[2J"}'
    assert len(shortened("x" * 1000)) == 200


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the console script where there is no database."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("THROUGHLINE_CONFIG", str(ROOT / "deploy" / "config"))

    def call(*words: str | Path) -> Result:
        return CliRunner().invoke(app, ["import", "--dry-run", *map(str, words)])

    return call


def test_a_dry_run_says_what_would_be_accepted_and_why_not_and_leaves_no_trace(run: Any, tmp_path: Path) -> None:
    done = run(SAMPLES / "ga4.jsonl", SAMPLES / "segment.jsonl")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "12 touchpoints would be accepted, in the name of shop-web",
        "         3  identify",
        "         2  page",
        "         2  track view_item",
        "         1  track first_visit",
        "         1  track session_start",
        "         1  track purchase",
        "         1  screen Orders",
        "         1  track Order Completed",
        "2 would be refused",
        "         2  identifier_missing",
    ]
    assert "segment.jsonl:4: at least one identifier is needed" in done.stderr
    assert '"userId":"anonymous"' in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_dry_run_without_a_problem_ends_with_0(run: Any) -> None:
    done = run("--mapping", SAMPLES / "orders.yaml", "--map", "user=Till", SAMPLES / "orders.csv")
    assert (done.exit_code, done.stdout.splitlines()[:2]) == (
        0, ["3 touchpoints would be accepted, in the name of shop-web", "         3  track Order Completed"]
    )  # fmt: skip


def test_damage_to_one_file_is_told_and_the_next_is_read(run: Any, tmp_path: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(b"PK\x03\x04")
    done = run(cut, SAMPLES / "posthog.csv")
    assert done.exit_code == 1
    assert done.stdout.startswith("3 touchpoints would be accepted")
    assert "cut.zip is damaged: " in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "matomo"), "--format takes ga4, amplitude, mixpanel, posthog, segment, plain, not matomo"),
        (("--format", "ga4", "--map", "user=a"), "the columns of ga4 are known"),
        (("--timezone", "Berlin"), "'Berlin' is no time zone"),
        (("--mapping", "nowhere.yaml"), "nowhere.yaml: "),
        (("--map", "user"), "--map takes TARGET=COLUMN, not 'user'"),
        ((), "none of the exports that are known"),
    ],
)
def test_wrong_use_ends_with_2(run: Any, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    file = tmp_path / "h.jsonl"
    file.write_text(json.dumps({"what": "ever"}))
    done = run(*words, file)
    assert done.exit_code == 2
    assert sentence in done.stderr
