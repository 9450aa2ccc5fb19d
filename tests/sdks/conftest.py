"""A running ingest service, the SDKs beside it, and what came of what they sent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.ingest.encode import Rejected
from shared.identifiers import IdentityRules
from shared.touchpoint import REJECTED, TOUCHPOINTS, Touchpoint
from tests.integration.ingest.conftest import ROOT, Service, Written
from tests.sdks.clients import JITSU_KEY, KEY, Client
from tests.sdks.story import Call
from tests.support.postgres import run_on, sibling

APP = "sdk-app"
SOURCES = f"""
sources:
  - {{name: sdks, kind: browser, write_keys: [{KEY}, "{JITSU_KEY}"], app_ids: [{APP}]}}
"""
READERS = "readers: [{name: admin, keys: [admin-key], scopes: [admin]}]"


@dataclass(frozen=True)
class Ended:
    """How a driver ended: its exit code, the numbers of the calls that its SDK refused, the errors that it was told."""

    code: int
    refused: frozenset[int]
    errors: tuple[str, ...]
    said: str


def start(pool: ThreadPoolExecutor, client: Client, host: str, calls: list[Call]) -> Future[Ended]:
    """Runs a driver to its end in a process of its own."""
    job = json.dumps({"host": host, "key": client.key, "app": APP, "calls": calls, "options": client.options})
    return pool.submit(_run, client.command, job)


def _run(command: list[str], job: str) -> Ended:
    done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    told: dict[str, Any] = json.loads(done.stdout or "{}")
    return Ended(done.returncode, frozenset(told.get("refused", ())), tuple(told.get("errors", ())), done.stderr)


@pytest.fixture(scope="module")
def log_database(postgres_url: str, request: pytest.FixtureRequest) -> str:
    """A database of this module's own, where its log is."""
    name = f"{request.module.__name__.rpartition('.')[2]}_{os.getpid()}"
    asyncio.run(run_on(postgres_url, f"create database {name}"))
    return sibling(postgres_url, name)


@pytest.fixture(scope="module")
def service(log_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Ingest as it runs for everybody, on the embedded log."""
    folder = tmp_path_factory.mktemp("sdks")
    with configured(log_database, folder).running() as one:
        one.wait_until_it_listens()
        yield one


def configured(database: str, folder: Path, **environment: str) -> Service:
    (folder / "sources.yaml").write_text(SOURCES)
    (folder / "readers.yaml").write_text(READERS)
    more = {"DATABASE_URL": database, "THROUGHLINE_CONFIG": str(folder), "KAFKA_PARTITIONS": "3"}
    return Service({**more, **environment}, folder / "output.log")


async def on_the_log(database: str) -> list[Touchpoint]:
    """All touchpoints, each once: what has the same highest identifier and the same id is the same."""
    records = await Written(database).records(TOUCHPOINTS)
    found = [msgspec.json.decode(record.value, type=Touchpoint) for record in records]
    return list({(IdentityRules().highest(one.ids), one.id): one for one in found}.values())


async def rejected(database: str) -> list[Rejected]:
    """All that ingest put among the rejected."""
    return [msgspec.json.decode(one.value, type=Rejected) for one in await Written(database).records(REJECTED)]


def of_user(touchpoints: list[Touchpoint], user: str) -> list[Touchpoint]:
    return [
        one for one in touchpoints if user in (one.ids.get("user_id"), one.ids.get("anonymous_id"), one.previous_id)
    ]


def number_of(touchpoint: Touchpoint) -> int | None:
    """The number of the call that made it; None where there is no place for a number."""
    beside = touchpoint.context.get("contexts", {}).get("call", {})  # where Snowplow's page views have theirs
    return next((part["n"] for part in (touchpoint.properties, touchpoint.traits, beside) if "n" in part), None)
