"""The settings of the metrics service."""

from __future__ import annotations

from pydantic import Field

from shared.settings import Settings


class MetricsSettings(Settings):
    """What the metrics service reads beside the settings that all share."""

    metrics_connections: int = Field(
        8, ge=1, le=1000, description="database connections of the metrics service, at most"
    )
    metrics_statement_seconds: float = Field(
        10.0, gt=0, le=600, description="seconds after which the database gives up on a question"
    )
    metrics_stale_seconds: float = Field(
        60.0, gt=0, description="/readyz of the metrics service fails when its answers are older than this many seconds"
    )
