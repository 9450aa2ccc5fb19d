"""Brings a database to the schema of this version: Alembic under a lock, so that all services may try at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

SCRIPTS = Path(__file__).parent.parent / "deploy" / "migrations"
_LOCK = 7_264_190_001


async def migrate(database_url: str) -> None:
    """Upgrades to the newest revision; returns at once when there is nothing to do. Waits for whoever is at it."""
    connection = await asyncpg.connect(database_url)
    try:
        if await _revision(connection) == newest():
            return
        await connection.execute("select pg_advisory_lock($1)", _LOCK)  # until the connection is closed
        if await _revision(connection) != newest():
            await asyncio.to_thread(_upgrade, database_url)
    finally:
        await connection.close()


def newest() -> str:
    """The revision that this version wants: the scripts are numbered in their order."""
    return max(script.name for script in (SCRIPTS / "versions").glob("[0-9]*.py")).split("_", 1)[0]


async def _revision(connection: Any) -> str | None:
    if await connection.fetchval("select to_regclass('alembic_version')") is None:
        return None
    found: str | None = await connection.fetchval("select version_num from alembic_version")
    return found


def _upgrade(database_url: str) -> None:
    """Loads SQLAlchemy and Alembic only now: with them a service takes half as long again to start."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")
