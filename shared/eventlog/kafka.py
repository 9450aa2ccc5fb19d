"""The log on Kafka: how to connect, the appending end, and the topics. The reading end is in kafka_reader.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from ssl import SSLContext
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from zstandard import ZstdCompressor

from shared.eventlog.group_commit import Call, GroupCommit, Limits
from shared.eventlog.keeper import Keeper
from shared.eventlog.partition import partition_of
from shared.eventlog.port import LogUnavailable, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

AWAY: Final = (KafkaError, OSError, TimeoutError)  # what aiokafka raises when the broker is not there for us
BATCH_BYTES: Final = 900_000  # before compression; brokers take 1 MiB after it
CLOSE_SECONDS: Final = 2.0
CONNECT_TIMEOUTS: Final = 5  # requests that a connection may take one after the other; nobody waits for all of them
REPLICAS: Final = 3

Lane = tuple[str, int]  # topic and partition

# aiokafka has no setting for the level: its 3 costs thrice the CPU of 1, and makes our JSON no smaller; and it makes a
# compressor for each batch, which costs more than to compress a small one
sys.modules[DefaultRecordBatchBuilder.__module__].__dict__["zstd_encode"] = ZstdCompressor(level=1).compress


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments by which every client of aiokafka reaches the brokers of the settings."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": _ssl(settings),
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password,
    }


def _ssl(settings: Settings) -> SSLContext | None:
    if "SSL" not in settings.kafka_security_protocol.split("_"):
        return None
    context: SSLContext = create_ssl_context(
        cafile=settings.kafka_ssl_cafile,
        certfile=settings.kafka_ssl_certfile,
        keyfile=settings.kafka_ssl_keyfile,
    )
    return context


class KafkaAppender:
    """An idempotent producer, acks=all, one batch a partition and write; replaced by a new one whenever it fails."""

    def __init__(self, connection: Mapping[str, Any], limits: Limits) -> None:
        self._arguments, self._timeout = connection, limits.timeout
        self._keeper = Keeper(self._connect, _discard, limits.timeout)
        self._commit = GroupCommit(self._write, limits, record_bytes=BATCH_BYTES)

    async def start(self) -> None:
        await self._keeper.start()

    async def append(self, topic: str, records: Sequence[Record]) -> None:
        self._keeper.check()
        await self._commit.append(topic, records)

    async def stop(self) -> None:
        await self._commit.stop()
        await self._keeper.stop()

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._arguments,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",  # aiokafka's lz4 is fixed at its slowest level: thrice the CPU, half as much again
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(self._timeout * 900),  # so that it gives up, and tidies up, before we do
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUTS * self._timeout):
                await producer.start()
        except AWAY as error:
            await _discard(producer)
            raise LogUnavailable(f"Kafka cannot be reached: {error!r}") from error
        except BaseException:
            await _discard(producer)
            raise
        return producer

    async def _write(self, calls: Sequence[Call]) -> None:
        producer = await self._keeper.get()
        try:
            async with asyncio.timeout(self._timeout):
                partitions = {topic: len(await producer.partitions_for(topic)) for topic in {c.topic for c in calls}}
                failed = await _send(producer, _pack(producer, calls, partitions))
        except AWAY as error:
            self._keeper.broken(producer)
            raise LogUnavailable(f"Kafka did not acknowledge: {error!r}") from error
        if failed:  # a lost batch leaves a hole in the producer's sequence numbers: it will not do for the next
            self._keeper.broken(producer)
            _fail(calls, partitions, failed)


def _pack(producer: AIOKafkaProducer, calls: Sequence[Call], partitions: Mapping[str, int]) -> list[tuple[Lane, Any]]:
    """The records of all calls in batches, each partition's in order; a partition has several only if one is full."""
    full: list[tuple[Lane, Any]] = []
    open_batches: dict[str, dict[int, Any]] = {topic: {} for topic in partitions}
    for call in calls:
        batches, width = open_batches[call.topic], partitions[call.topic]
        for record in call.records:
            key, value, headers = record.key, record.value, list(record.headers)
            partition = partition_of(key, width)
            batch = batches.get(partition)
            if batch is None or batch.append(key=key, value=value, headers=headers, timestamp=None) is None:
                if batch is not None:
                    full.append(((call.topic, partition), batch))
                batches[partition] = batch = producer.create_batch()
                batch.append(key=key, value=value, headers=headers, timestamp=None)
    return full + [((topic, n), batch) for topic, batches in open_batches.items() for n, batch in batches.items()]


async def _send(producer: AIOKafkaProducer, batches: Sequence[tuple[Lane, Any]]) -> dict[Lane, BaseException]:
    """Sends all and waits for all acknowledgements; answers what failed."""
    sent = [(lane, await producer.send_batch(batch, lane[0], partition=lane[1])) for lane, batch in batches]
    await asyncio.wait([acknowledgement for _, acknowledgement in sent])
    failures = ((lane, acknowledgement.exception()) for lane, acknowledgement in sent)
    return {lane: failure for lane, failure in failures if failure is not None}


def _fail(calls: Sequence[Call], partitions: Mapping[str, int], failed: Mapping[Lane, BaseException]) -> None:
    for call in calls:
        lanes = {(call.topic, partition_of(record.key, partitions[call.topic])) for record in call.records}
        for lane in lanes & failed.keys():
            call.fail(f"Kafka refused a batch: {failed[lane]!r}")


async def _discard(producer: AIOKafkaProducer) -> None:
    """Closes a producer, whatever state it is in.

    Its own stop() waits for ever for a broker that is away, so the sender is ended first and by force.
    """
    producer._closed = True
    sender = producer._sender.sender_task
    await _close_client(producer.client)
    for _ in range(3):  # each cancel ends one level of what the sender is waiting for
        if sender is None or sender.done():
            break
        sender.cancel()
        await asyncio.wait([sender], timeout=CLOSE_SECONDS)


async def _close_client(client: Any) -> None:
    with contextlib.suppress(*AWAY):
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()


class KafkaAdmin:
    """Creates topics with as many replicas as there are brokers, three at most."""

    def __init__(self, connection: Mapping[str, Any], timeout: float = 30.0) -> None:
        self._arguments, self._timeout = connection, timeout

    async def ensure(self, topics: Mapping[str, int]) -> None:
        await self._run(_ensure, topics)

    async def partitions(self, topic: str) -> int:
        counts: dict[str, int] = await self._run(_partition_counts, [topic])
        if topic not in counts:
            raise LogUnavailable(f"topic {topic} does not exist: run `throughline migrate`")
        return counts[topic]

    async def _run(self, work: Any, argument: Any) -> Any:
        client = AIOKafkaAdminClient(**self._arguments, request_timeout_ms=int(self._timeout * 1000))
        try:
            async with asyncio.timeout(self._timeout):
                await client.start()
                return await work(client, argument)
        except AWAY as error:
            raise LogUnavailable(f"Kafka cannot be reached: {error!r}") from error
        finally:
            await _close_client(client)


async def _partition_counts(client: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    """Only topics that exist and whose partitions all have a leader."""
    described = await client.describe_topics(list(topics))
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }


async def _ensure(client: AIOKafkaAdminClient, topics: Mapping[str, int]) -> None:
    missing = topics.keys() - (await _partition_counts(client, list(topics))).keys()
    if not missing:
        return
    brokers = len((await client.describe_cluster())["brokers"])
    replicas = min(REPLICAS, brokers)
    durable = {"min.insync.replicas": str(max(1, replicas - 1))}
    wanted = [NewTopic(name, topics[name], replicas, topic_configs=durable) for name in sorted(missing)]
    _raise_unless_created(await client.create_topics(wanted))
    while topics.keys() - (await _partition_counts(client, list(topics))).keys():  # noqa: ASYNC110 (a broker has no event)
        await asyncio.sleep(0.05)


def _raise_unless_created(answer: Any) -> None:
    for topic, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {topic}: {rest}")
