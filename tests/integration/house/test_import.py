"""`import`: files through the same checks and the same log as touchpoints that come over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.eventlog.postgres import unpack
from shared.touchpoint import REJECTED, TOUCHPOINTS
from tests.support.pipeline import ROOT

SAMPLES = ROOT / "tests" / "data" / "exports"
LINES: list[dict[str, Any]] = [
    {"id": "1", "time": "2024-01-04T11:45:38Z", "user": "u1", "event": "home", "channel": "email"},
    {"id": "2", "time": "2024-01-04T11:46:38Z", "anonymous": "a1", "event": "search", "properties": {"query": "tea"}},
]


def on_the_log(database: str, topic: str = TOUCHPOINTS) -> list[dict[str, Any]]:
    """All records of a topic, in the order of their ids."""
    batches = asyncio.run(fetch(database, "select records from log_batches where topic = $1", topic))
    found = [json.loads(record.value) for (packed,) in batches for record in unpack(packed)]
    return sorted(found, key=lambda record: str(record.get("id")))


async def fetch(database: str, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(database)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_plain_form_is_understood_without_a_word(run: Any, database: str, tmp_path: Path) -> None:
    done = run("import", jsonl(tmp_path / "history.jsonl", *LINES))
    assert (done.exit_code, done.stdout) == (0, "2 touchpoints are on the log\n")
    first, second = on_the_log(database)
    assert (first["ids"], first["event"], first["channel"]) == ({"user_id": "u1"}, "home", "email")
    assert (second["ids"], second["properties"]) == ({"anonymous_id": "a1"}, {"query": "tea"})


def test_segments_own_form_is_understood_too(run: Any, database: str, tmp_path: Path) -> None:
    row = {"type": "identify", "messageId": "m", "userId": "u1", "traits": {"tier": "gold"}, "timestamp": "2024-01-04"}
    assert run("import", jsonl(tmp_path / "history.jsonl", row)).exit_code == 0
    assert [(t["id"], t["type"], t["traits"]) for t in on_the_log(database)] == [("m", "identify", {"tier": "gold"})]


def test_columns_of_a_zipped_csv_are_mapped(run: Any, database: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv.gz"
    file.write_bytes(
        gzip.compress(b"\xef\xbb\xbfno,customer,at,event,amount,zip\n7,0042,2024-01-04,Order Completed,12.50,01067\n")
    )
    options = ("--map", "id=no", "--map", "user=customer", "--map", "time=at", "--map", "properties.revenue=amount")
    assert run("import", *options, file).exit_code == 0
    (touchpoint,) = on_the_log(database)
    assert (touchpoint["id"], touchpoint["ids"]) == ("7", {"user_id": "0042"})
    assert touchpoint["properties"] == {"revenue": 12.5, "zip": "01067"}


def test_a_channel_column_can_be_an_acquisition(run: Any, database: str, tmp_path: Path) -> None:
    row = LINES[0] | {"channel": "paid_search"}
    assert run("import", "--channel-is", "acquisition", jsonl(tmp_path / "h.jsonl", row)).exit_code == 0
    assert [t["acquisition"] for t in on_the_log(database)] == ["Paid Search"]


def test_a_bad_row_is_refused_with_its_reason_and_harms_no_other(run: Any, database: str, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "history.jsonl", LINES[0], {"id": "3", "event": "lost"}, LINES[1])
    with file.open("ab") as more:
        more.write(b'not json\n{"id": "4", "user": "u2", "event": "\xff"}\n' + b'{"a":' * 5000 + b"1" + b"}" * 5000)
    done = run("import", file)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "3 touchpoints are on the log", "1 refused: identifier_missing", "2 refused: not_an_object"
    ]  # fmt: skip
    assert [t["id"] for t in on_the_log(database)] == ["1", "2", "4"]
    assert sorted(letter["reason"] for letter in on_the_log(database, REJECTED)) == [
        "identifier_missing", "not_an_object", "not_an_object"
    ]  # fmt: skip


def test_it_goes_on_where_it_stopped_whatever_the_file_is_called(run: Any, database: str, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "history.jsonl", *LINES)
    assert run("import", file).exit_code == 0
    done = run("import", file.rename(tmp_path / "renamed.jsonl"))
    assert done.stdout == "2 rows were imported before\n0 touchpoints are on the log\n"
    assert len(on_the_log(database)) == 2


def test_rows_without_an_id_get_the_same_one_in_every_import(run: Any, database: str, tmp_path: Path) -> None:
    row = {"user": "u1", "event": "home", "time": "2024-01-04"}
    file = jsonl(tmp_path / "history.jsonl", row, row)
    run("import", file)
    for bookmark in (tmp_path / "home/imports").iterdir():
        bookmark.unlink()
    run("import", file)
    ids = [touchpoint["id"] for touchpoint in on_the_log(database)]
    assert (len(ids), len(set(ids))) == (4, 2)


@pytest.mark.parametrize("name", ["ga4.jsonl", "mixpanel.jsonl", "amplitude.zip", "posthog.jsonl"])
def test_an_export_that_is_imported_twice_counts_once(run: Any, database: str, tmp_path: Path, name: str) -> None:
    for _ in range(2):
        assert run("import", SAMPLES / name).exit_code == 1  # one of nobody is in each
        for bookmark in (tmp_path / "home/imports").iterdir():
            bookmark.unlink()
    expected = (SAMPLES / f"{name}.expected.jsonl").read_text().splitlines()
    ids = Counter(touchpoint["id"] for touchpoint in on_the_log(database))
    assert ids == {json.loads(line)["id"]: 2 for line in expected}
    assert [letter["reason"] for letter in on_the_log(database, REJECTED)] == ["identifier_missing"] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--map", "user"), "--map takes TARGET=COLUMN, not 'user'"),
        (("--channel-is", "path"), "--channel-is takes channel or acquisition, not path"),
        (("--source", "nobody"), "no source is called nobody; there are shop-web"),
    ],
)
def test_wrong_use_is_said(run: Any, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = run("import", *words, jsonl(tmp_path / "history.jsonl"))
    assert done.exit_code in (1, 2)
    assert sentence in done.stderr
