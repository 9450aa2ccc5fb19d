"""Sources and readers change while requests come: no restart, no request lost, a mistake changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.integration.ingest.conftest import READERS, SOURCES, Service, track
from tests.support.pipeline import eventually

ADDED = SOURCES + "  - {name: added, kind: server, write_keys: [added-key]}\n"


async def status(client: httpx.AsyncClient, key: str) -> int:
    return (await client.post("/v1/track", json=track(), auth=(key, ""))).status_code


async def test_keys_are_read_again_and_mistakes_are_told(ingest_database: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "sources.yaml").write_text(SOURCES)
    (config / "readers.yaml").write_text(READERS)
    environment = {"DATABASE_URL": ingest_database, "THROUGHLINE_CONFIG": str(config),
                   "THROUGHLINE_RELOAD_SECONDS": "0.1"}  # fmt: skip
    service = Service(environment, tmp_path / "output.log")
    with service.running():
        service.wait_until_it_listens()
        async with httpx.AsyncClient(base_url=service.url) as client:
            assert [await status(client, key) for key in ("slow-key",) * 5] == [200] * 5
            assert await status(client, "added-key") == 401
            (config / "sources.yaml").write_text(ADDED)

            async def added() -> bool:
                return await status(client, "added-key") == 200

            await eventually(added)
            assert await status(client, "slow-key") == 429
            (config / "sources.yaml").write_text("sources: [{name: shop}]")

            async def broken() -> bool:
                return "throughline_config_reload_success 0.0" in (await client.get("/metrics")).text

            await eventually(broken)
            assert await status(client, "added-key") == 200
            assert (await client.get("/readyz")).status_code == 200
            assert "kind" in service.output.read_text()


async def test_a_signal_has_the_files_read_at_once(ingest_database: str, ingest_config: Path, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": ingest_database, "THROUGHLINE_CONFIG": str(ingest_config),
                   "THROUGHLINE_RELOAD_SECONDS": "3600"}  # fmt: skip
    service = Service(environment, tmp_path / "output.log")
    with service.running():
        service.wait_until_it_listens()
        assert service.process is not None
        os.kill(service.process.pid, signal.SIGHUP)

        async def read_again() -> bool:
            return "has been read again" in service.output.read_text()

        await eventually(read_again)
