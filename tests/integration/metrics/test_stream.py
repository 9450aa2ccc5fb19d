"""The change stream over a real connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from services.metrics.app import clock
from tests.integration.metrics.seed import SHOP, Seed, Told

OTHER = SHOP.model_copy(update={"map": "other"})
KEY = {"Authorization": "Bearer metrics-key"}


@pytest.fixture
async def url(app: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    app.state.room.live.close()
    server.should_exit = True
    await serving


@asynccontextmanager
async def listening(url: str, **asked: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The events of a stream as (name, data)."""
    async with (
        httpx.AsyncClient(base_url=url, headers=KEY, timeout=10) as client,
        client.stream("GET", "/v1/stream", params=asked) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in answer.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


async def test_tells_what_now_tells(url: str, seed: Seed, api: httpx.AsyncClient) -> None:
    map_id = await seed.map()
    await seed.journey(map_id, Told([(0, clock())]))
    async with listening(url) as events:
        name, told = await anext(events)
    assert name == "now"
    asked = (await api.get("/v1/maps/shop/now")).json()
    assert told.keys() == asked.keys()
    assert told["stages"] == asked["stages"]


async def test_tells_of_a_transition_once_it_is_counted(url: str, seed: Seed) -> None:
    map_id = await seed.map()
    async with listening(url) as events:
        await anext(events)
        await seed.journey(map_id, Told([(0, clock())], channel="store"))
        told = [event async for event in _until(events, "transition")]
    assert told[-1][1] | {"as_of": ""} == {
        "map": "shop", "version": 2, "from": None, "to": "awareness", "count": 1, "as_of": "",
    }  # fmt: skip


async def test_tells_of_one_map_if_that_is_wanted(url: str, seed: Seed) -> None:
    await seed.map()
    await seed.map(OTHER)
    async with listening(url, map="other") as events:
        maps = [(await anext(events))[1]["map"] for _ in range(3)]
    assert maps == ["other"] * 3


async def test_listeners_share_one_reading(url: str, seed: Seed, app: Any) -> None:
    await seed.map()
    async with listening(url) as one, listening(url) as other:
        first = [(await anext(one))[1]["as_of"] for _ in range(2)]
        await anext(other)
        assert app.state.room.live.listeners == 2
        assert len(first) == 2
    await until(lambda: not app.state.room.live.listeners)
    await until(lambda: not app.state.room.live.reading)


async def test_the_key_may_come_in_the_address_for_those_who_cannot_send_headers(url: str, seed: Seed) -> None:
    await seed.map()
    async with (
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", "/v1/stream?key=metrics-key") as answer,
    ):
        assert answer.status_code == 200
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/v1/stream?key=wrong")).status_code == 401


async def test_an_unknown_map_has_no_stream(url: str, seed: Seed) -> None:
    async with httpx.AsyncClient(base_url=url, headers=KEY) as client:
        assert (await client.get("/v1/stream?map=none")).status_code == 404


async def test_streams_end_when_the_service_does(url: str, seed: Seed, app: Any) -> None:
    await seed.map()
    async with listening(url) as events:
        await anext(events)
        app.state.room.live.close()
        assert [event async for event in events if event[0] not in ("now", "transition")] == []
    async with listening(url) as late:
        assert [event async for event in late] == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
            await asyncio.sleep(0)


async def _until(events: AsyncIterator[tuple[str, Any]], wanted: str) -> AsyncIterator[tuple[str, Any]]:
    async for event in events:
        yield event
        if event[0] == wanted:
            return
