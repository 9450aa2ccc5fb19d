"""Read-only connections to PostgreSQL: one statement or one snapshot for each answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg

from services.metrics.errors import TooSlow, Unavailable

READER_ROLE: Final = "throughline_reader"
CONNECT_SECONDS: Final = 5.0
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what it raises when the server hangs up in the middle of a message
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)

# Whether this user may act as the role that can only read, and that role may read our tables.
_CAN_BE_READER = """
    select coalesce(bool_and(pg_has_role(current_user, oid, 'MEMBER')
                             and has_table_privilege(oid, 'rollup_cohort', 'SELECT')
                             and has_table_privilege(oid, 'map_versions', 'SELECT')), false)
    from pg_roles where rolname = $1
"""


@contextmanager
def _translated() -> Iterator[None]:
    """Drivers' errors in our words."""
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise TooSlow from error
    except _GONE as error:
        raise Unavailable(str(error) or type(error).__name__) from error


class Snapshot:
    """One transaction that sees one state of the database."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(sql, *values)
        return rows


class Database:
    """A pool of connections that cannot write and do not wait for ever."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        """The rows of one statement, which is one snapshot."""
        with _translated():
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                rows: list[Any] = await connection.fetch(sql, *values)
                return rows

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Several statements in one snapshot."""
        with _translated():
            async with (
                self._pool.acquire(timeout=CONNECT_SECONDS) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield Snapshot(connection)

    @property
    def in_use(self) -> int:
        used: int = self._pool.get_size() - self._pool.get_idle_size()
        return used

    @property
    def size(self) -> int:
        size: int = self._pool.get_size()
        return size

    async def close(self) -> None:
        await self._pool.close()


async def connect(url: str, connections: int, statement_seconds: float) -> Database:
    """Opens the pool; Unavailable if the database cannot be reached."""
    with _translated():
        probe = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            reader = await probe.fetchval(_CAN_BE_READER, READER_ROLE)
        finally:
            await probe.close()
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections,
            timeout=CONNECT_SECONDS,
            command_timeout=statement_seconds + CONNECT_SECONDS,
            reset=_nothing_to_reset,
            server_settings=_session(statement_seconds, reader),
        )
    return Database(pool)


def _session(statement_seconds: float, reader: bool) -> dict[str, str]:
    """The session's settings; everything is read by key, so plans that read whole tables are never wanted."""
    milliseconds = str(round(statement_seconds * 1000))
    session = {
        "application_name": "throughline metrics",
        "default_transaction_read_only": "on",
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        "jit": "off",
        "enable_seqscan": "off",
    }
    return session | ({"role": READER_ROLE} if reader else {})


async def _nothing_to_reset(_: Any) -> None:
    """Sessions are never changed, so giving one back costs no round trip."""
