"""Floods, slow and endless clients: refused in time, counted, and nobody else is kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest
import uvicorn
from uvicorn.server import ServerState

from services.ingest.api import Receive, Scope, Send
from services.ingest.gates import Bounds, bounded, watch
from tests.integration.ingest.conftest import Service, basic, track
from tests.support.pipeline import eventually

REQUEST = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def started(
    database: str, config: Path, folder: Path, **more: str
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    environment = {"DATABASE_URL": database, "THROUGHLINE_CONFIG": str(config), **more}
    service = Service(environment, folder / "output.log")
    with service.running():
        service.wait_until_it_listens()
        async with httpx.AsyncClient(base_url=service.url, headers=basic("shop-key"), timeout=20) as client:
            yield service, client


@asynccontextmanager
async def connected(service: Service, first: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(first)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()


async def figure(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


CUT = 'throughline_ingest_connections_cut_total{cause="%s"}'
BEGUN = [b"", b"\r\n", b"POST /v1/tr", REQUEST + b"\r\n", REQUEST + b"POST /v1/track HTTP/1.1\r\nA: "]


@pytest.fixture(scope="module")
def impatient(ingest_database: str, ingest_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that waits two seconds for a head: enough for those who mean it, on a busy machine too."""
    environment = {"DATABASE_URL": ingest_database, "THROUGHLINE_CONFIG": str(ingest_config),
                   "INGEST_HEAD_SECONDS": "2"}  # fmt: skip
    service = Service(environment, tmp_path_factory.mktemp("impatient") / "output.log")
    with service.running():
        service.wait_until_it_listens()
        yield service


@pytest.fixture
async def client(impatient: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=impatient.url, headers={"connection": "close"}, timeout=20) as client:
        yield client


async def drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("first", BEGUN)
async def test_a_request_that_does_not_begin_or_whose_head_does_not_end_is_not_waited_for(
    impatient: Service, client: httpx.AsyncClient, first: bytes
) -> None:
    before = await figure(client, CUT % "too_slow")
    async with connected(impatient, first) as (reader, writer):
        dripping = asyncio.create_task(drip(writer, b"\r\n" if first.endswith(b"\r\n") else first[-1:]))
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 20)  # to the end
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
    assert await figure(client, CUT % "too_slow") == before + 1


async def test_a_connection_that_rests_between_requests_stays(impatient: Service) -> None:
    async with connected(impatient, REQUEST) as (reader, writer):
        await reader.readuntil(b"}")
        async with connected(impatient, b"") as (other, _):
            await asyncio.wait_for(other.read(), 20)  # by when this one, too, would have been cut
        writer.write(REQUEST)
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 20)


async def test_a_connection_that_rests_too_long_is_closed_once_it_has_its_answer() -> None:
    causes: list[str] = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await asyncio.sleep(0.7)  # `watch` looks meanwhile
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    protocol = bounded(Bounds(1, app, causes.append))
    config = uvicorn.Config(cast("Any", app), http=protocol, lifespan="off", log_config=None, timeout_keep_alive=0)
    config.load()
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    watching = asyncio.create_task(watch(state.connections, 0.5))
    async with listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(REQUEST)
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 204 ")  # and then the end
        writer.close()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert causes == []


async def test_a_head_without_end_costs_no_memory(impatient: Service, client: httpx.AsyncClient) -> None:
    assert impatient.process is not None
    process = psutil.Process(impatient.process.pid)
    before, cut = process.memory_info().rss, await figure(client, CUT % "head_too_large")
    async with connected(impatient, b"POST /v1/track HTTP/1.1\r\nA: ") as (_, writer):
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 1024 * 1024)
                await writer.drain()
    assert process.memory_info().rss - before < 8 * 1024 * 1024
    assert await figure(client, CUT % "head_too_large") == cut + 1


async def test_bombs_and_slow_bodies_at_one_time_cost_bounded_memory_and_hold_nobody_up(
    impatient: Service, client: httpx.AsyncClient
) -> None:
    assert impatient.process is not None
    process = psutil.Process(impatient.process.pid)
    before, bomb = process.memory_info().rss, gzip.compress(bytes(64 * 1024 * 1024), 1)
    slow = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + b" " * 100_000
    async with contextlib.AsyncExitStack() as held:
        for _ in range(30):
            await held.enter_async_context(connected(impatient, slow))
        sending = [client.post("/v1/batch", content=bomb, headers=basic("shop-key")) for _ in range(30)]
        good = client.post("/v1/track", json=track(), headers=basic("shop-key"))
        answers = await asyncio.gather(*sending, good)
    assert [answer.status_code for answer in answers] == [413] * 30 + [200]
    assert process.memory_info().rss - before < 48 * 1024 * 1024


async def test_one_connection_too_many_is_told_to_come_back_and_watchers_are_let_in(
    ingest_database: str, ingest_config: Path, tmp_path: Path
) -> None:
    async with started(ingest_database, ingest_config, tmp_path, INGEST_MAX_CONNECTIONS="2") as (service, client):
        async with connected(service, b""), connected(service, b""):

            async def refused() -> httpx.Response | None:
                headers = {"origin": "https://shop.example", "connection": "close"}
                answer = await client.post("/v1/track", json=track(), headers=headers)
                return answer if answer.status_code == 503 else None

            answer = await eventually(refused)
            assert answer.json()["code"] == "overloaded"
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["connection"] == "close"
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert (await client.get("/healthz", headers={"connection": "close"})).status_code == 200

        async def taken() -> bool:
            return (await client.post("/v1/track", json=track())).status_code == 200

        await eventually(taken)
        assert await figure(client, 'throughline_ingest_refused_total{code="overloaded"}') >= 1


async def test_an_address_that_sends_too_much_is_told_when_to_come_back_before_its_body_is_read(
    ingest_database: str, ingest_config: Path, tmp_path: Path
) -> None:
    async with started(ingest_database, ingest_config, tmp_path, INGEST_ADDRESS_RATE="3/hour") as (_, client):
        flood = {"x-forwarded-for": "192.0.2.1", "authorization": "Basic bm9ib2R5Og=="}
        answers = [await client.post("/v1/track", json=track(), headers=flood) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 1000
        posthog = await client.post("/batch/", content=b"{", headers=flood)
        assert (posthog.status_code, "retry-after" in posthog.headers) == (503, True)  # 429 makes its SDK forget
        other = {"x-forwarded-for": "192.0.2.2"}
        assert (await client.post("/v1/track", json=track(), headers=other)).status_code == 200
        assert (await client.options("/v1/track", headers=flood)).status_code == 200
        assert await figure(client, 'throughline_ingest_refused_total{code="key_unknown"}') == 3
        assert await figure(client, 'throughline_ingest_refused_total{code="rate_exceeded"}') == 3
