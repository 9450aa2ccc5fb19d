"""The process: what it refuses to start with, health, limits of its own, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.ingest.conftest import Service, Written, basic, track

DEMO = """
sources:
  - {name: shop, kind: browser, write_keys: [demo-write]}
"""


def variant(database: str, config: Path, output: Path, **more: str) -> Service:
    environment = {"DATABASE_URL": database, "THROUGHLINE_CONFIG": str(config), **more}
    return Service(environment, output / "output.log")


def ended(service: Service) -> int:
    """The exit code of a service that ends by itself."""
    with service.running():
        assert service.process is not None
        return service.process.wait(timeout=30)


@pytest.fixture
def demo_config(tmp_path: Path, ingest_config: Path) -> Path:
    (tmp_path / "sources.yaml").write_text(DEMO)
    (tmp_path / "readers.yaml").write_text((ingest_config / "readers.yaml").read_text())
    return tmp_path


def test_demo_keys_are_refused_beyond_loopback(ingest_database: str, demo_config: Path, tmp_path: Path) -> None:
    service = variant(ingest_database, demo_config, tmp_path, THROUGHLINE_HOST="0.0.0.0")
    assert ended(service) == 2
    assert "demo key" in service.output.read_text()


def test_demo_keys_are_taken_beyond_loopback_if_somebody_says_so(
    ingest_database: str, demo_config: Path, tmp_path: Path
) -> None:
    allowed = {"THROUGHLINE_HOST": "0.0.0.0", "THROUGHLINE_ALLOW_DEMO_KEYS": "1"}
    service = variant(ingest_database, demo_config, tmp_path, **allowed)
    with service.running():
        service.wait_until_it_listens()
        assert httpx.post(f"{service.url}/v1/track", json=track(), auth=("demo-write", "")).status_code == 200
    assert "demo keys" in service.output.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: [{name: shop}]", "kind"),
        ("sources: [{name: shop, kind: browser, write_keys: [k], rate: fast}]", "is no rate"),
        ("sources: [{name: shop, kind: browser, write_keys: [k], rate: 0/second}]", "lets nothing through"),
        (":", "sources.yaml"),
    ],
)
def test_a_mistake_in_the_configuration_is_said_in_a_sentence(
    ingest_database: str, demo_config: Path, tmp_path: Path, text: str, said: str
) -> None:
    (demo_config / "sources.yaml").write_text(text)
    service = variant(ingest_database, demo_config, tmp_path)
    assert ended(service) == 2
    assert said in service.output.read_text()
    assert "Traceback" not in service.output.read_text()


def test_a_port_that_is_taken_is_said(
    service: Service, ingest_database: str, ingest_config: Path, tmp_path: Path
) -> None:
    second = variant(ingest_database, ingest_config, tmp_path)
    second.port = service.port
    assert ended(second) != 0
    assert str(service.port) in second.output.read_text()


async def test_a_stop_answers_what_is_in_flight_and_keeps_what_was_acknowledged(
    ingest_database: str, ingest_config: Path, tmp_path: Path, written: Written
) -> None:
    service = variant(ingest_database, ingest_config, tmp_path)
    with service.running():
        service.wait_until_it_listens()
        started, items = asyncio.Event(), [track() for _ in range(50)]

        async def slowly() -> AsyncIterator[bytes]:
            yield b'{"batch":['
            started.set()
            yield b"]}"

        async with httpx.AsyncClient(base_url=service.url, headers=basic("shop-key"), timeout=20) as client:
            sending = [asyncio.create_task(client.post("/v1/track", json=item)) for item in items]
            slow = asyncio.create_task(client.post("/v1/batch", content=slowly()))
            await started.wait()
            stopping = asyncio.create_task(asyncio.to_thread(service.stop))
            answers = await asyncio.gather(*sending, slow, return_exceptions=True)
        assert await stopping == 0
        taken = [item["messageId"] for item, answer in zip(items, answers, strict=False)
                 if isinstance(answer, httpx.Response) and answer.status_code == 200]  # fmt: skip
        assert [one.id for one in await written.touchpoints(*taken)] == taken


async def test_a_body_that_does_not_come_is_not_waited_for(
    ingest_database: str, ingest_config: Path, tmp_path: Path
) -> None:
    service = variant(ingest_database, ingest_config, tmp_path, INGEST_BODY_SECONDS="0.2")
    with service.running():
        service.wait_until_it_listens()
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 503 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()


async def test_requests_beyond_the_limit_are_refused_at_once(
    ingest_database: str, ingest_config: Path, tmp_path: Path
) -> None:
    service = variant(ingest_database, ingest_config, tmp_path, INGEST_MAX_REQUESTS="1")
    with service.running():
        service.wait_until_it_listens()
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        async with httpx.AsyncClient(base_url=service.url, headers=basic("shop-key")) as client:
            statuses = set()
            while 503 not in statuses:
                statuses.add((await client.post("/v1/track", json=track())).status_code)
        writer.close()
        await writer.wait_closed()
        assert statuses <= {200, 503}


def test_health_and_telemetry(service: Service) -> None:
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/readyz").json() == {"status": "ok", "checks": {"log": "ok"}}
    metrics = httpx.get(f"{service.url}/metrics").text
    for name in (
        "throughline_touchpoints_accepted_total", "throughline_touchpoints_rejected_total",
        "throughline_ingest_request_seconds_bucket", "throughline_ingest_append_seconds_bucket",
        "throughline_ingest_batch_touchpoints_bucket", "throughline_identifiers_dropped_total",
        "throughline_ingest_body_bytes_total", "throughline_ingest_in_flight_requests",
    ):  # fmt: skip
        assert name in metrics
