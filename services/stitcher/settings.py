"""The stitcher's own settings, from the environment."""

from __future__ import annotations

from pydantic import Field

from shared.settings import Settings


class StitcherSettings(Settings):
    """What may be tuned in the stitcher; the defaults suit one machine."""

    stitcher_batch: int = Field(
        80_000, ge=1, le=100_000,
        description="touchpoints stitched in one transaction, at most; fewer where it would take longer than 4 s",
    )  # fmt: skip
    stitcher_linger_seconds: float = Field(
        0.02, ge=0, le=5, description="how long to wait for more touchpoints when only a few have come"
    )
    stitcher_dead_letters_in_a_row: int = Field(
        100, ge=1, description="so many records in a row of which nothing can be made stop the stitcher"
    )
    stitcher_retries: int = Field(50, ge=1, description="how often a batch is tried again after a deadlock")
    stitcher_stuck_seconds: float = Field(
        120, gt=0, description="without progress for so long, while there is something to do, the stitcher exits"
    )
    stitcher_statement_seconds: float = Field(60, gt=0, description="a statement that takes longer is given up")
    stitcher_pause_seconds: float = Field(
        15, gt=0, description="a transaction that stands still for so long is ended by PostgreSQL, its locks given up"
    )
    stitcher_clock_batch: int = Field(500, ge=1, le=10_000, description="journeys closed in one transaction, at most")
    stitcher_letter_days: float = Field(30, gt=0, description="how long dead letters are kept")
    stitcher_letter_bytes: int = Field(
        1024**3, ge=1024**2, description="what dead letters may hold together; beyond that the oldest go"
    )
    stitcher_log_hours: float = Field(
        24, gt=0, description="how long the embedded log keeps what has been stitched and published"
    )
