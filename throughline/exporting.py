"""`export`: the journeys behind a count, as JSON lines or CSV: the list of the metrics API, page by page."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import httpx
import typer

from shared.settings import Settings
from throughline.environment import fail, read_settings
from throughline.supervisor import local


def export(
    map_: Annotated[str, typer.Argument(metavar="MAP", help="which map")],
    where: Annotated[
        list[str] | None,
        typer.Option(help="FILTER=VALUE as the API takes it, e.g. status=lost or reached=checkout; repeatable."),
    ] = None,
    key: Annotated[
        str, typer.Option(envvar="THROUGHLINE_READ_KEY", help="A read key with the scope profiles.")
    ] = "demo-read",
    kind: Annotated[str, typer.Option("--format", help="jsonl or csv")] = "jsonl",
) -> None:
    """Write journeys to standard output; exactly those that the API counts and lists."""
    if kind not in ("jsonl", "csv"):
        fail(f"--format takes jsonl or csv, not {kind}", 2)
    if wrong := [pair for pair in where or () if "=" not in pair]:
        fail(f"--where takes FILTER=VALUE, not {wrong[0]!r}", 2)
    settings = read_settings(Settings)
    url = f"http://{local(settings)}:{settings.metrics_port}/v1/maps/{map_}/journeys"
    filters = dict(pair.split("=", 1) for pair in where or ())
    try:
        _write(_rows(url, filters, key), "csv" if kind == "csv" else "jsonl")
    except httpx.HTTPError as error:
        fail(f"the metrics service does not answer: {error}")


def _rows(url: str, filters: dict[str, str], key: str) -> Iterator[dict[str, Any]]:
    with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        parameters = {"limit": "1000"} | filters
        while True:
            answer = client.get(url, params=parameters)
            if answer.status_code != 200:
                fail(answer.json().get("message", answer.text), 2 if answer.status_code in (404, 422) else 1)
            page = answer.json()
            yield from page["data"]
            if page["next_cursor"] is None:
                return
            parameters["cursor"] = page["next_cursor"]


def _write(rows: Iterator[dict[str, Any]], kind: Literal["jsonl", "csv"]) -> None:
    if kind == "jsonl":
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        plain = {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in row.items()}
        writer.writerow(plain)
