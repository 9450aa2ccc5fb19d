"""Real PostgreSQL for tests: one throw-away server a session, an empty migrated database a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import asyncpg
import pytest

from deploy.migrations.schema import metadata
from shared.migrations import migrate
from throughline.embedded import Server

ALONE: Final = """
    select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""
EMPTY: Final = f"truncate {', '.join(table.name for table in metadata.sorted_tables)} restart identity"


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
def migrated() -> dict[str, str]:
    """Remembers the session's migrated database, once it has been made."""
    return {}


@pytest.fixture
async def database(postgres_url: str, migrated: dict[str, str]) -> str:
    """The URL of a migrated database in which nothing is and to which nobody is connected."""
    if "url" not in migrated:
        await run_on(postgres_url, "create database migrated")
        await migrate(sibling(postgres_url, "migrated"))
        migrated["url"] = sibling(postgres_url, "migrated")
    await run_on(migrated["url"], ALONE, EMPTY)
    return migrated["url"]
