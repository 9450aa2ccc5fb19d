"""The log away, slow or full: 503 within a bounded time, nothing acknowledged lost, and service again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.eventlog.open import open_admin
from shared.settings import Settings
from shared.touchpoint import TOUCHPOINTS
from tests.integration.ingest.conftest import Service, basic, track
from tests.support.kafka import KafkaBroker
from tests.support.pipeline import eventually

BOUND = 8.0  # seconds within which every answer comes


@pytest.fixture
def on_kafka(kafka_broker: KafkaBroker, ingest_config: Path, tmp_path: Path) -> Iterator[Service]:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers, "THROUGHLINE_CONFIG": str(ingest_config),
        "KAFKA_PARTITIONS": "3", "INGEST_APPEND_SECONDS": "2",
    }  # fmt: skip
    with Service(environment, tmp_path / "output.log").running() as service:
        yield service


async def on_the_log(broker: KafkaBroker) -> list[str]:
    """The ids of all touchpoints that the broker has."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    await consumer.start()
    try:
        count = await open_admin(Settings(kafka_bootstrap_servers=broker.bootstrap_servers)).partitions(TOUCHPOINTS)
        partitions = [TopicPartition(TOUCHPOINTS, number) for number in range(count)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[str] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [msgspec.json.decode(record.value)["id"] for record in records]
        return found
    finally:
        await consumer.stop()


async def test_a_broker_that_goes_and_comes_back(on_kafka: Service, kafka_broker: KafkaBroker) -> None:
    on_kafka.wait_until_it_listens()
    async with httpx.AsyncClient(base_url=on_kafka.url, headers=basic("shop-key"), timeout=30) as client:
        acknowledged = [await send(client)]
        kafka_broker.kill()
        start = time.monotonic()
        refused = await client.post("/v1/track", json=track())
        assert time.monotonic() - start < BOUND
        assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        kafka_broker.start()

        async def taken_again() -> bool:
            acknowledged.append(await send(client))
            return bool(acknowledged[-1])

        await eventually(taken_again)

        async def all_are_there() -> bool:  # a broker that has just come back may not show its ends yet
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    return {id_ for id_ in acknowledged if id_} <= set(await on_the_log(kafka_broker))
            return False

        await eventually(all_are_there)


async def send(client: httpx.AsyncClient) -> str:
    """Sends one; its id if it was acknowledged, else empty."""
    item = track()
    answer = await client.post("/v1/track", json=item)
    assert answer.status_code in (200, 503)
    return str(item["messageId"]) if answer.status_code == 200 else ""


async def test_a_broker_that_hangs_holds_nobody_for_long(on_kafka: Service, kafka_broker: KafkaBroker) -> None:
    on_kafka.wait_until_it_listens()
    async with httpx.AsyncClient(base_url=on_kafka.url, headers=basic("shop-key"), timeout=30) as client:
        kafka_broker.pause()
        start = time.monotonic()
        answers = await asyncio.gather(*(client.post("/v1/track", json=track()) for _ in range(20)))
        assert time.monotonic() - start < BOUND
        assert {answer.status_code for answer in answers} == {503}
        kafka_broker.resume()

        async def taken_again() -> bool:
            return bool(await send(client))

        await eventually(taken_again)


async def test_it_starts_without_a_log_and_serves_when_there_is_one(
    on_kafka_later: tuple[Service, KafkaBroker],
) -> None:
    service, broker = on_kafka_later
    service.wait_until_it_listens("/healthz")
    async with httpx.AsyncClient(base_url=service.url, headers=basic("shop-key"), timeout=30) as client:
        start = time.monotonic()
        assert (await client.post("/v1/track", json=track())).status_code == 503
        assert time.monotonic() - start < BOUND
        broker.start()

        async def taken() -> bool:
            return bool(await send(client))

        await eventually(taken)
        assert (await client.get("/readyz")).status_code == 200


@pytest.fixture
def on_kafka_later(
    kafka_broker: KafkaBroker, ingest_config: Path, tmp_path: Path
) -> Iterator[tuple[Service, KafkaBroker]]:
    kafka_broker.kill()
    environment = {"KAFKA_BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers, "THROUGHLINE_CONFIG": str(ingest_config)}
    with Service(environment, tmp_path / "output.log").running() as service:
        yield service, kafka_broker


@pytest.mark.parametrize("limit", [{"INGEST_MAX_BYTES": str(8 * 1024 * 1024)}, {}], ids=["held", "worked on"])
async def test_what_is_held_and_worked_on_is_bounded_and_more_is_refused_at_once(
    limit: dict[str, str], kafka_broker: KafkaBroker, ingest_config: Path, tmp_path: Path
) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers, "THROUGHLINE_CONFIG": str(ingest_config),
        "INGEST_APPEND_SECONDS": "3", **limit,
    }  # fmt: skip
    with Service(environment, tmp_path / "output.log").running() as service:
        service.wait_until_it_listens()
        kafka_broker.pause()
        big = json.dumps({"batch": [track(properties={"x": "y" * 20_000}) for _ in range(100)]})
        async with httpx.AsyncClient(base_url=service.url, headers=basic("shop-key"), timeout=30) as client:
            answers = await asyncio.gather(*(client.post("/v1/batch", content=big) for _ in range(12)))
        kafka_broker.resume()
        codes = [answer.json()["code"] for answer in answers]
        assert {answer.status_code for answer in answers} == {503}
        assert codes.count("overloaded") >= 8
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
