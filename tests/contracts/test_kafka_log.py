"""What only Kafka asks for: a login, and topics made elsewhere."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.eventlog.group_commit import Limits
from shared.eventlog.open import open_appender
from shared.eventlog.port import LogUnavailable, Record
from shared.settings import Settings
from tests.contracts.conftest import KafkaLog, Scene
from tests.support.kafka import PASSWORD, USER, KafkaBroker


@pytest.fixture
def log(kafka_broker: KafkaBroker) -> KafkaLog:
    return KafkaLog(kafka_broker)


def with_login(broker: KafkaBroker, password: str) -> Settings:
    return Settings(
        kafka_bootstrap_servers=f"127.0.0.1:{broker.sasl_port}",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username=USER,
        kafka_sasl_password=password,
        database_url=None,
    )


async def test_it_logs_in_with_user_and_password(scene: Scene, kafka_broker: KafkaBroker) -> None:
    appender = open_appender(with_login(kafka_broker, PASSWORD))
    await appender.start()
    await appender.append(scene.topic, [Record(b"k", b"v")])
    await appender.stop()
    assert [record.value for record in await (await scene.member()).read(1)] == [b"v"]


async def test_a_wrong_password_is_a_log_that_is_away(scene: Scene, kafka_broker: KafkaBroker) -> None:
    appender = open_appender(with_login(kafka_broker, "wrong"), Limits(timeout=1.5))
    await appender.start()
    with pytest.raises(LogUnavailable):
        await appender.append(scene.topic, [Record(b"k", b"v")])
    await appender.stop()


async def test_records_of_others_without_key_or_value_are_read_as_empty(scene: Scene) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=scene.log.settings.kafka_bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(scene.topic, key=b"k", value=None)
    await producer.send_and_wait(scene.topic, key=None, value=b"v")
    await producer.stop()
    got = await (await scene.member()).read(2)
    assert {(record.key, record.value) for record in got} == {(b"k", b""), (b"", b"v")}


async def test_a_record_that_no_batch_can_hold_is_the_callers_fault(scene: Scene) -> None:
    appender = await scene.appender()
    with pytest.raises(ValueError, match="larger than"):
        await appender.append(scene.topic, [Record(b"k", bytes(1_000_000))])
    await appender.append(scene.topic, [Record(b"k", b"v")])


async def test_topics_are_as_durable_as_the_brokers_allow(scene: Scene) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.log.settings.kafka_bootstrap_servers)
    await admin.start()
    described = await admin.describe_topics([scene.topic])
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, scene.topic)])
    await admin.close()
    assert [len(partition["replicas"]) for partition in described[0]["partitions"]] == [1, 1, 1, 1]
    assert ("min.insync.replicas", "1") in [(entry[0], entry[1]) for entry in answers[0].resources[0][4]]
