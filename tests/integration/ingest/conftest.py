"""A running ingest service, as its own process, and what it put on the log."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest

from services.ingest.encode import Rejected
from shared.eventlog.port import Record
from shared.eventlog.postgres import unpack
from shared.touchpoint import REJECTED, TOUCHPOINTS, Touchpoint
from throughline.ports import free_port

ROOT = Path(__file__).parents[3]
SOURCES = """
sources:
  - {name: shop, kind: browser, write_keys: [shop-key], channel: web}
  - {name: till, kind: server, write_keys: [till-key], channel: store, app_ids: ["/till/7", "/till/8"]}
  - {name: slow, kind: server, write_keys: [slow-key], rate: 5/hour}
  - {name: stripe, kind: server, hook: {use: stripe, signature: {secret: whsec_test}}}
  - {name: till-hook, kind: server, write_keys: [hook-key], channel: store, hook: pos}
  - {name: own-pages, kind: browser, write_keys: [own-key], origins: ["https://own.example"], app_ids: [own-app]}
  - {name: scarce, kind: browser, write_keys: [scarce-key], rate: 1/hour}
  - {name: jitsu, kind: browser, write_keys: ["id:secret"]}
"""
READERS = """
readers:
  - {name: admin, keys: [admin-key], scopes: [admin]}
  - {name: dashboard, keys: [metrics-key], scopes: [metrics, profiles]}
"""
_number = itertools.count(1)


@pytest.fixture(scope="session")
def ingest_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingest-config")
    (folder / "sources.yaml").write_text(SOURCES)
    (folder / "readers.yaml").write_text(READERS)
    return folder


@dataclass
class Service:
    """One ingest process."""

    environment: Mapping[str, str]
    output: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Service]:
        environment = {**os.environ, "INGEST_PORT": str(self.port), **self.environment}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"], env=environment, stdout=output, stderr=output, cwd=ROOT
            )
            try:
                yield self
            finally:
                self.stop()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def wait_until_it_listens(self, path: str = "/readyz") -> None:
        deadline = time.monotonic() + 90
        with httpx.Client(base_url=self.url) as client:
            while time.monotonic() < deadline:
                assert self.process is not None
                assert self.process.poll() is None, self.output.read_text()
                with contextlib.suppress(httpx.TransportError):
                    if client.get(path).status_code == 200:
                        return
                time.sleep(0.05)
        raise AssertionError(self.output.read_text())


@pytest.fixture(scope="session")
def ingest_database(postgres_url: str) -> str:
    """A database of this service's own, for the session."""
    name = f"ingest_{os.getpid()}"

    async def create() -> None:
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(f"create database {name}")
        await connection.close()

    asyncio.run(create())
    return f"{postgres_url.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(scope="session")
def service(ingest_database: str, ingest_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service on the embedded log, for all tests that only send to it."""
    environment = {"DATABASE_URL": ingest_database, "THROUGHLINE_CONFIG": str(ingest_config), "KAFKA_PARTITIONS": "3"}
    one = Service(environment, tmp_path_factory.mktemp("ingest") / "output.log")
    with one.running():
        one.wait_until_it_listens()
        yield one


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Sends with the key of the source `shop`."""
    async with httpx.AsyncClient(base_url=service.url, auth=("shop-key", ""), timeout=20) as client:
        yield client


@pytest.fixture
async def anybody(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Sends without a key."""
    async with httpx.AsyncClient(base_url=service.url, timeout=20) as client:
        yield client


@dataclass
class Written:
    """What is on the embedded log."""

    url: str

    async def records(self, topic: str) -> list[Record]:
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch(
                "select records from log_batches where topic = $1 order by partition, base_offset", topic
            )
        finally:
            await connection.close()
        return [record for row in rows for record in unpack(row["records"])]

    async def touchpoints(self, *ids: str) -> list[Touchpoint]:
        """The touchpoints of these ids, in the order of the ids, each as often as it is there."""
        found = [record.value for record in await self.records(TOUCHPOINTS) if b'"command":' not in record.value]
        decoded = [msgspec.json.decode(value, type=Touchpoint) for value in found]
        return [one for id_ in ids for one in decoded if one.id == id_]

    async def touchpoint(self, id_: str) -> Touchpoint:
        [one] = await self.touchpoints(id_)
        return one

    async def letters(self, *ids: str) -> list[Rejected]:
        """The rejected touchpoints of these ids."""
        found = [msgspec.json.decode(record.value, type=Rejected) for record in await self.records(REJECTED)]
        return [one for id_ in ids for one in found if one.id == id_]


@pytest.fixture
def written(ingest_database: str) -> Written:
    return Written(ingest_database)


def fresh(prefix: str = "m") -> str:
    """An id that no other test uses."""
    return f"{prefix}-{next(_number)}-{uuid4()}"


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "messageId": fresh(), "userId": "u1", **fields}


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{key}:".encode()).decode()}
