"""What PostgreSQL's failures mean to the stitcher, by what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from services.stitcher.errors import Poison, Stuck, Transient, Unavailable

AGAIN = (  # the same batch, at once
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
AWAY = (  # wait for the database; what became of the transaction is unknown
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that ended while its transaction stood still
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidTransactionStateError,  # one that stood still, or took, for too long
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
UNSTORABLE = (  # a record that no table takes
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    UnicodeError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours; those that are none of the driver's go through as they are."""
    try:
        yield
    except AGAIN as error:
        raise Transient(f"{type(error).__name__}: {error}") from error
    except UNSTORABLE as error:
        raise Poison("unstorable", f"{type(error).__name__}: {error}") from error
    except AWAY as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except asyncpg.PostgresError as error:
        raise Stuck(f"PostgreSQL refuses: {type(error).__name__}: {error}") from error
