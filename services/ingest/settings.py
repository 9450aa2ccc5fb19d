"""Settings of ingest."""

from __future__ import annotations

from pydantic import Field

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
    ingest_append_seconds: float = Field(
        4.0, gt=0, le=30, description="how long the log may take to acknowledge before a client is answered 503"
    )
    throughline_hash_key: str | None = Field(
        None, min_length=16, repr=False,
        description="key of the hashes that sources.yaml asks for under privacy; who has it can try values out",
    )  # fmt: skip
