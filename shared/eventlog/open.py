"""Opens the log that the settings name: Kafka if there are bootstrap servers, else PostgreSQL."""

from __future__ import annotations

from shared.eventlog.group_commit import Limits
from shared.eventlog.kafka import KafkaAdmin, KafkaAppender, connection
from shared.eventlog.kafka_reader import KafkaReader
from shared.eventlog.port import Admin, Appender, Reader
from shared.settings import Settings


def open_appender(settings: Settings, limits: Limits = Limits()) -> Appender:
    return KafkaAppender(connection(settings), limits)


def open_admin(settings: Settings) -> Admin:
    return KafkaAdmin(connection(settings))


def open_reader(settings: Settings, topic: str, group: str, member: str, timeout: float = 4.0) -> Reader:
    return KafkaReader(connection(settings), topic, group, member, timeout)
