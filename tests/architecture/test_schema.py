"""A migrated database equals the models, and the role that reads it can do nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Table
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.migrations.schema import metadata
from shared.migrations import SCRIPTS, migrate, newest
from tests.support.postgres import run_on, sibling

COLLATIONS = """
    select c.relname, a.attname, l.collname from pg_attribute a
    join pg_class c on c.oid = a.attrelid join pg_collation l on l.oid = a.attcollation
    where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and l.collname <> 'default'
"""
FILL = "select relname, reloptions from pg_class where relkind = 'r' and reloptions is not null"


def engine_of(url: str) -> AsyncEngine:
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def collation(column: Column[Any]) -> str | None:
    return getattr(column.type, "collation", None)


def fill(table: Table) -> dict[str, str]:
    options: dict[str, str] = table.dialect_options["postgresql"]["with"] or {}
    return options


async def test_a_migrated_database_equals_the_models(database: str) -> None:
    engine = engine_of(database)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_ids_are_compared_and_pages_filled_as_the_models_say(database: str) -> None:
    connection = await asyncpg.connect(database)
    collations = {tuple(row) for row in await connection.fetch(COLLATIONS)}
    filled = {row[0]: dict(option.split("=") for option in row[1]) for row in await connection.fetch(FILL)}
    await connection.close()
    tables = metadata.tables.values()
    assert collations == {(t.name, c.name, collation(c)) for t in tables for c in t.columns if collation(c)}
    assert filled == {t.name: fill(t) for t in tables if fill(t)}


async def test_visits_are_not_compressed(database: str) -> None:
    connection = await asyncpg.connect(database)
    stored = await connection.fetchval(
        "select attstorage from pg_attribute where attrelid = 'journeys'::regclass and attname = 'visits'"
    )
    await connection.close()
    assert stored == b"e"


def test_the_newest_revision_is_the_last_script() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [newest()]


async def test_migrating_again_changes_nothing(database: str) -> None:
    await migrate(database)
    await migrate(database)


async def test_several_processes_may_migrate_at_once(postgres_url: str) -> None:
    await run_on(postgres_url, "create database migrated_at_once")
    url = sibling(postgres_url, "migrated_at_once")
    await asyncio.gather(*(migrate(url) for _ in range(4)))
    await run_on(url, "select from journeys")
    await run_on(postgres_url, "drop database migrated_at_once with (force)")


async def test_a_database_can_be_taken_back_to_nothing(database: str) -> None:
    def back(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    engine = engine_of(database)
    async with engine.begin() as connection:
        await connection.run_sync(back)
    await engine.dispose()
    await migrate(database)


async def test_the_reader_reads_and_does_nothing_else(database: str) -> None:
    connection = await asyncpg.connect(database, server_settings={"role": "throughline_reader"})
    await connection.fetch("select from journeys")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("delete from journeys")
    await connection.close()


async def test_a_user_who_may_not_make_roles_can_migrate(database: str, postgres_url: str) -> None:
    name, password = "plain_owner", "plain"
    await run_on(postgres_url, f"create role {name} login password '{password}'", f"create database plain owner {name}")
    await migrate(make_url(sibling(postgres_url, "plain")).set(username=name, password=password)
                  .render_as_string(hide_password=False))  # fmt: skip
    await run_on(sibling(postgres_url, "plain"), "select from journeys")
    await run_on(postgres_url, "drop database plain with (force)", f"drop role {name}")
