"""A running ingest service, the SDKs beside it, and what came of what they sent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
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
from tests.sdks.clients import APP, JITSU_KEY, KEY, Client
from tests.sdks.pages import Pages, pages
from tests.sdks.story import Call
from tests.support.postgres import run_on, sibling

SOURCES = f"""
sources:
  - {{name: sdks, kind: browser, write_keys: [{KEY}, "{JITSU_KEY}"], app_ids: [{APP}], rate: RATE}}
"""
READERS = "readers: [{name: admin, keys: [admin-key], scopes: [admin]}]"


@dataclass(frozen=True)
class Ended:
    """How a driver ended: its exit code, the numbers of the calls that its SDK refused, the errors that it was told."""

    code: int
    refused: frozenset[int]
    errors: tuple[str, ...]
    said: str

    @staticmethod
    def of_page(told: Any) -> Ended:
        """A page that has made all its calls says True; anything else is what went wrong."""
        return Ended(0 if told is True else 1, frozenset(), (), str(told))


def start(pool: ThreadPoolExecutor, client: Client, host: str, calls: list[Call]) -> Future[Ended]:
    """Runs a driver to its end in a process of its own."""
    return pool.submit(_run, client.command, json.dumps(client.job(host, calls)))


def _run(command: list[str], job: str) -> Ended:
    done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
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
    folder = tmp_path_factory.mktemp("service")
    with configured(folder, DATABASE_URL=log_database).running() as one:
        one.wait_until_it_listens()
        yield one


@pytest.fixture(scope="module")
def in_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with pages(tmp_path_factory.mktemp("pages")) as some:
        yield some


def configured(folder: Path, rate: str = "1000000/second", **environment: str) -> Service:
    """A service that knows the SDKs' keys."""
    (folder / "sources.yaml").write_text(SOURCES.replace("RATE", rate))
    (folder / "readers.yaml").write_text(READERS)
    more = {"THROUGHLINE_CONFIG": str(folder), "KAFKA_PARTITIONS": "3", **environment}
    return Service(more, folder / "output.log")


async def on_the_log(database: str) -> list[Touchpoint]:
    """All touchpoints, each once: what has the same highest identifier and the same id is the same."""
    records = await Written(database).records(TOUCHPOINTS)
    found = [msgspec.json.decode(record.value, type=Touchpoint) for record in records]
    return list({(IdentityRules().highest(one.ids), one.id): one for one in found}.values())


def when_there(database: str, expected: Mapping[str, int], seconds: float = 90) -> list[Touchpoint]:
    """All touchpoints, once there are so many of each of these users, or after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = asyncio.run(on_the_log(database))
        missing = [user for user, count in expected.items() if len(of_user(found, user)) < count]
        if not missing or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


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
