"""A metrics API over a fresh database, asked without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.metrics.app import build
from services.metrics.live import Live
from services.metrics.reader.database import connect as open_reader
from services.metrics.settings import MetricsSettings
from shared.keys import load_readers
from tests.integration.metrics.seed import Seed, connect

READERS = """
readers:
  - {name: all, keys: [all-key], scopes: [metrics, profiles, admin]}
  - {name: aggregates, keys: [metrics-key], scopes: [metrics]}
  - {name: customers, keys: [profiles-key], scopes: [profiles]}
"""
SOURCES = """
sources:
  - {name: site, kind: browser, write_keys: [w1]}
  - {name: till, kind: server, write_keys: [w2]}
"""


@pytest.fixture
def settings(tmp_path: Path, database: str) -> MetricsSettings:
    (tmp_path / "readers.yaml").write_text(READERS)
    (tmp_path / "sources.yaml").write_text(SOURCES)
    return MetricsSettings(database_url=database, throughline_config=tmp_path, metrics_port=0)


@pytest.fixture
async def seed(database: str) -> AsyncIterator[Seed]:
    connection = await connect(database)
    yield Seed(connection)
    await connection.close()


@pytest.fixture
async def app(settings: MetricsSettings) -> AsyncIterator[Any]:
    assert settings.database_url
    reader, live = await open_reader(settings.database_url, 4, 10), Live(0.05)
    yield build(settings, load_readers(settings.throughline_config), reader, live)
    await live.stop()
    await reader.close()


@pytest.fixture
async def api(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://t", headers={"Authorization": "Bearer all-key"}
    ) as client:
        yield client
