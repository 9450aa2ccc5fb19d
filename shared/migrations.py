"""Brings a database to the schema of this version: Alembic under a lock, so that all services may try at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

SCRIPTS = Path(__file__).parent.parent / "deploy" / "migrations"
_LOCK = 7_264_190_001


async def migrate(database_url: str) -> None:
    """Upgrades to the newest revision; returns at once when there is nothing to do. Waits for whoever is at it."""
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"select pg_advisory_lock({_LOCK})"))
            try:
                await connection.run_sync(_upgrade)
                await connection.commit()
            finally:
                await connection.rollback()
                await asyncio.shield(connection.execute(text(f"select pg_advisory_unlock({_LOCK})")))
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
