"""Connections that find rows by index only, never compile, and never hold locks for long."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import asyncpg

from services.stitcher.store.sql import GIVEN

INDEX_ONLY: Final = {
    # On young tables the planner would read them whole for `= any($1)`, and keep that plan (see test_plans.py).
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "temp_buffers": "32MB",  # the rows of a large batch, which would be written to disk else
}


async def open_pool(
    database_url: str, *, statement_seconds: float, idle_seconds: float, most: int = 10, name: str = "stitcher"
) -> asyncpg.Pool[Any]:
    """A pool for the stitcher's transactions. A statement, and a pause within a transaction, end after so long."""
    return await asyncpg.create_pool(
        database_url,
        min_size=1,
        max_size=most,
        init=partial(_prepared, longest=_ms(statement_seconds + idle_seconds)),
        reset=_as_it_is,
        command_timeout=statement_seconds + 10,  # where even the server's own timeout is not heard of
        statement_cache_size=200,
        max_cached_statement_lifetime=0,
        server_settings=INDEX_ONLY
        | {
            "application_name": f"throughline-{name}",
            "statement_timeout": _ms(statement_seconds),
            "idle_in_transaction_session_timeout": _ms(idle_seconds),
            "timezone": "UTC",
        },
    )


async def _prepared(connection: Any, longest: str) -> None:
    """Each connection has the temporary tables that rows are copied into, and ends a transaction that takes too long:
    the other timeouts miss a client that was stopped in the middle of a statement."""
    await connection.execute("; ".join(given.table for given in GIVEN))
    if connection.get_server_version().major >= 17:
        await connection.execute(f"set transaction_timeout = {longest}")


async def _as_it_is(_: Any) -> None:
    """Our statements leave nothing behind in a session, so that there is nothing to reset."""


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))
