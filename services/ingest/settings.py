"""Settings of ingest."""

from __future__ import annotations

from pydantic import Field, field_validator

from services.ingest.addresses import networks
from shared.settings import Settings


class IngestSettings(Settings):
    """What only ingest reads."""

    ingest_max_requests: int = Field(
        4096, ge=1, description="requests that ingest works on at one time; more are answered 503 at once"
    )
    ingest_max_bytes: int = Field(
        64 * 1024 * 1024, ge=8 * 1024 * 1024, description="bytes of bodies that ingest holds at one time; beyond: 503"
    )
    ingest_body_seconds: float = Field(30.0, gt=0, description="how long a client may take to send a body")
    ingest_max_connections: int = Field(
        4096,
        ge=1,
        description="connections that ingest holds open at one time; beyond: 503, and the connection is closed",
    )
    ingest_head_seconds: float = Field(
        20.0, gt=0, description="how long a client may take to begin a request, and to end its headers"
    )
    ingest_address_rate: str | None = Field(
        None, pattern=r"^[1-9]\d*\s*/\s*(second|minute|hour|day)$",
        description="requests from one address, for example 600/minute; not set: no limit",
    )  # fmt: skip
    ingest_trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="addresses and networks of proxies whose X-Forwarded-For is believed, separated by commas",
    )
    ingest_append_seconds: float = Field(
        4.0, gt=0, le=30, description="how long the log may take to acknowledge before a client is answered 503"
    )
    throughline_hash_key: str | None = Field(
        None, min_length=16, repr=False,
        description="key of the hashes that sources.yaml asks for under privacy; who has it can try values out",
    )  # fmt: skip

    @field_validator("ingest_trusted_proxies")
    @classmethod
    def _networks(cls, proxies: str) -> str:
        networks(proxies)
        return proxies
