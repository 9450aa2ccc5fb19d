"""Opens the log that the settings name: Kafka if there are bootstrap servers, else the one in PostgreSQL."""

from __future__ import annotations

from typing import Final

from shared.eventlog.group_commit import Limits
from shared.eventlog.kafka import KafkaAdmin, KafkaAppender, connection
from shared.eventlog.kafka_reader import KafkaReader
from shared.eventlog.port import Admin, Appender, Reader
from shared.eventlog.postgres import PostgresAdmin, PostgresAppender
from shared.eventlog.postgres_reader import PostgresReader
from shared.settings import Settings

USUAL: Final = Limits()


def open_appender(settings: Settings, limits: Limits = USUAL) -> Appender:
    if settings.kafka_bootstrap_servers:
        return KafkaAppender(connection(settings), limits)
    return PostgresAppender(_url(settings), limits)


def open_reader(settings: Settings, topic: str, group: str, member: str, timeout: float = USUAL.timeout) -> Reader:
    """``member`` names this reader in the group; no two that live at a time may share it."""
    if settings.kafka_bootstrap_servers:
        return KafkaReader(connection(settings), topic, group, member, timeout)
    return PostgresReader(_url(settings), topic, group, member, timeout)


def open_admin(settings: Settings) -> Admin:
    if settings.kafka_bootstrap_servers:
        return KafkaAdmin(connection(settings))
    return PostgresAdmin(_url(settings))


def _url(settings: Settings) -> str:
    if settings.database_url is None:
        raise ValueError("DATABASE_URL is not set, and without KAFKA_BOOTSTRAP_SERVERS the log is kept there.")
    return settings.database_url
