"""The stitcher's tables on a fresh database, through its own adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.stitcher.store import Store, open_pool


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    pool = await open_pool(database, statement_seconds=30, idle_seconds=30)
    found = Store(pool, [1, 2])
    await found.prepare({"touchpoints": 4})
    yield found
    await pool.close()
