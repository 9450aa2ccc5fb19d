"""The two logs that the contract is held against, each real, each breakable."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from shared.eventlog.group_commit import Limits
from shared.eventlog.open import open_admin, open_appender, open_reader
from shared.eventlog.port import Appender, LogUnavailable, Reader, Record, Stored
from shared.eventlog.postgres import trim
from shared.migrations import migrate
from shared.settings import Settings
from tests.support.kafka import KafkaBroker
from throughline.embedded import Server

PATIENCE = 40.0  # seconds that a test waits for what must come
T = TypeVar("T")
_number = itertools.count(1)


class Log(Protocol):
    """A log and the ways to harm it."""

    @property
    def settings(self) -> Settings: ...

    def crash(self) -> None: ...

    def recover(self) -> None: ...

    def hang(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Takes requests but does not answer them."""

    async def forget(self, topic: str, partition: int, below: int) -> None:
        """Drops what lies below this offset."""


@dataclass
class KafkaLog:
    broker: KafkaBroker

    @property
    def settings(self) -> Settings:
        return Settings(kafka_bootstrap_servers=self.broker.bootstrap_servers, database_url=None)

    def crash(self) -> None:
        self.broker.kill()

    def recover(self) -> None:
        self.broker.start()

    @contextlib.asynccontextmanager
    async def hang(self) -> AsyncIterator[None]:
        self.broker.pause()
        yield
        self.broker.resume()

    async def forget(self, topic: str, partition: int, below: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(below)})
        await admin.close()


@dataclass
class PostgresLog:
    server: Server

    @property
    def settings(self) -> Settings:
        return Settings(kafka_bootstrap_servers=None, database_url=self.server.url)

    def crash(self) -> None:
        self.server.stop()

    def recover(self) -> None:
        if not self.server.running():
            self.server.start()

    @contextlib.asynccontextmanager
    async def hang(self) -> AsyncIterator[None]:
        """Somebody else holds every partition's lock."""
        other = await asyncpg.connect(self.server.url)
        async with other.transaction():
            await other.execute("select * from log_partitions for update")
            yield
        await other.close()

    async def forget(self, topic: str, partition: int, below: int) -> None:
        connection = await asyncpg.connect(self.server.url)
        await trim(connection, topic, {partition: below}, keep_seconds=0)
        await connection.close()


@pytest.fixture(scope="session")
def migrated_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: it is stopped and started again."""
    server = Server(tmp_path_factory.mktemp("log-postgres"), durable=False)
    with server.in_use():
        with ThreadPoolExecutor(1) as elsewhere:  # away from the event loops of the tests
            elsewhere.submit(asyncio.run, migrate(server.url)).result()
        yield server


@pytest.fixture(params=["kafka", "postgres"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    if request.param == "kafka":
        yield KafkaLog(request.getfixturevalue("kafka_broker"))
        return
    postgres = PostgresLog(request.getfixturevalue("migrated_postgres"))
    yield postgres
    postgres.recover()


class Member:
    """A reader whose offsets lie here, and all that it was told and given."""

    def __init__(self, reader: Reader, starts: Mapping[int, int]) -> None:
        self.reader, self.starts = reader, dict(starts)
        self.held: set[int] = set()
        self.got: list[Stored] = []

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        self.held |= partitions
        return {partition: self.starts.get(partition, 0) for partition in partitions}

    async def revoked(self, partitions: frozenset[int]) -> None:
        self.held -= partitions

    async def poll(self, limit: int = 1000) -> dict[int, list[Stored]]:
        polled = await self.reader.poll(limit, 0.3)
        for partition, records in polled.items():
            self.got += records
            self.starts[partition] = records[-1].offset + 1
        return polled

    async def poll_until(self, enough: Callable[[], bool], limit: int = 1000) -> None:
        """Reads on, through troubles of the log, until it is enough."""
        async with asyncio.timeout(PATIENCE):
            while not enough():
                with contextlib.suppress(LogUnavailable):
                    await self.poll(limit)

    async def read(self, count: int) -> list[Stored]:
        await self.poll_until(lambda: len(self.got) >= count)
        return self.got


@dataclass
class Scene:
    """A topic of one's own on the log, and what is opened on it, closed again at the end."""

    log: Log
    topic: str
    group: str
    _closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def appender(self, **limits: float) -> Appender:
        appender = open_appender(self.log.settings, Limits(**limits))  # type: ignore[arg-type]
        self._closing.push_async_callback(appender.stop)
        await appender.start()
        return appender

    async def member(self, name: str = "one", starts: Mapping[int, int] | None = None) -> Member:
        reader = open_reader(self.log.settings, self.topic, self.group, name)
        member = Member(reader, starts or {})
        self._closing.push_async_callback(reader.stop)
        await reader.start(member)
        return member

    @contextlib.asynccontextmanager
    async def other_process(self, name: str) -> AsyncIterator[tuple[Process, Awaitable[set[int]]]]:
        """A member in a process of its own, and what it holds once there are two of us."""
        arguments = [self.log.settings.model_dump_json(), self.topic, self.group, name]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contracts.other_process", *arguments, stdout=subprocess.PIPE
        )
        try:
            yield process, _half(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        await self._closing.aclose()


@pytest.fixture
async def scene(log: Log) -> AsyncIterator[Scene]:
    """A topic with four partitions."""
    name = f"contract-{next(_number)}"
    await open_admin(log.settings).ensure({name: 4})
    scene = Scene(log, name, f"group-of-{name}")
    yield scene
    await asyncio.to_thread(log.recover)
    await scene.close()


async def _half(process: Process) -> set[int]:
    assert process.stdout is not None
    async for line in process.stdout:
        if len(held := set(json.loads(line))) == 2:
            return held
    raise AssertionError("the other process ended")


def numbered(count: int, first: int = 0) -> list[Record]:
    """Records that can be told apart, with keys for all partitions."""
    return [Record(f"key-{number}".encode(), str(number).encode()) for number in range(first, first + count)]


def numbers(records: Iterable[Stored]) -> list[int]:
    return sorted(int(record.value) for record in records)
