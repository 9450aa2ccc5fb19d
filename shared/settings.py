"""Settings that more than one process reads, from the environment and `.env`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is a setting; its upper-case name (or alias) is the environment variable, its description the help."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True)

    database_url: str | None = Field(
        None, description="postgresql://… of any PostgreSQL 15 or newer; not set: the embedded PostgreSQL"
    )
    kafka_bootstrap_servers: str | None = Field(
        None, description="host:port,… of Kafka; not set: the embedded log in PostgreSQL"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to speak to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="how to log in to Kafka"
    )
    kafka_sasl_username: str | None = Field(None, description="who logs in to Kafka")
    kafka_sasl_password: str | None = Field(None, description="the password for it", repr=False)
    kafka_ssl_cafile: Path | None = Field(None, description="certificates that Kafka's must be signed by")
    kafka_ssl_certfile: Path | None = Field(None, description="our certificate for Kafka")
    kafka_ssl_keyfile: Path | None = Field(None, description="the key of it")
    kafka_partitions: int = Field(8, ge=1, le=1000, description="partitions of a topic, used when it is created")
    throughline_home: Path = Field(Path(".throughline"), description="data of the embedded parts")
    throughline_config: Path = Field(
        Path("deploy/config"), description="folder with sources.yaml, readers.yaml, identity.yaml, maps/ and hooks/"
    )
    throughline_reload_seconds: float = Field(
        5.0, gt=0, description="how often the configuration's files are looked at for changes; SIGHUP: at once"
    )
    throughline_deadletter_key: str | None = Field(
        None, repr=False,
        description="seals what dead letters hold, on the log and in the table; several keys, separated by commas: "
        "the first seals, all open",
    )  # fmt: skip
    throughline_host: str = Field("127.0.0.1", description="address to listen on")
    throughline_allow_demo_keys: bool = Field(
        False, description="1 lets a process that listens beyond loopback accept the published demo keys"
    )
    ingest_port: int = Field(8080, ge=0, le=65535, description="port of the ingest API")
    metrics_port: int = Field(8081, ge=0, le=65535, description="port of the metrics API and the journey map page")
    stitcher_port: int = Field(8082, ge=0, le=65535, description="port of the stitcher's health and telemetry")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line to log")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: JSON unless on a terminal")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach what listens on ``throughline_host``."""
        if self.throughline_host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.throughline_host).is_loopback
        except ValueError:
            return False
