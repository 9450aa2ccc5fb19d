"""Real PostgreSQL for tests: one throw-away server a session, a fresh migrated database a test."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from shared.migrations import migrate
from throughline.embedded import Server

_number = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("postgres"), durable=False)
    with server.in_use():
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Server) -> str:
    return postgres_server.url


def sibling(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return f"{url.rsplit('/', 1)[0]}/{database}"


async def run_on(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template() -> dict[str, bool]:
    """Remembers whether this session's migrated template has been made."""
    return {}


@pytest.fixture
async def database(postgres_url: str, template: dict[str, bool]) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database, dropped afterwards."""
    if not template:
        await run_on(postgres_url, "create database template_migrated")
        await migrate(sibling(postgres_url, "template_migrated"))
        template["made"] = True
    name = f"test_{os.getpid()}_{next(_number)}"
    await run_on(postgres_url, f"create database {name} template template_migrated")
    yield sibling(postgres_url, name)
    await run_on(postgres_url, f"drop database {name} with (force)")
