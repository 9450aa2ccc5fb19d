"""`ingest`, `stitcher`, `metrics`: one service alone in the foreground. `migrate`: the database and the topics."""

from __future__ import annotations

import asyncio

from shared.process import S, Serve, run
from shared.settings import Settings
from throughline.environment import fail, with_database


def ingest() -> None:
    """Take touchpoints over HTTP and put them on the log, until SIGTERM or SIGINT."""
    from services.ingest.app import serve
    from services.ingest.settings import IngestSettings

    _serve(IngestSettings, serve)


def stitcher() -> None:
    """Stitch the log into journeys, until SIGTERM or SIGINT. A second one shares the work."""
    from services.stitcher.app import serve
    from services.stitcher.errors import Stuck
    from services.stitcher.settings import StitcherSettings

    _serve(StitcherSettings, serve, Stuck)


def metrics() -> None:
    """Answer questions about journeys, until SIGTERM or SIGINT."""
    from services.metrics.app import serve
    from services.metrics.settings import MetricsSettings

    _serve(MetricsSettings, serve)


def migrate() -> None:
    """Prepare the database and the topics; may run again at any time."""
    with with_database(Settings) as settings:
        asyncio.run(prepare(settings))


async def prepare(settings: Settings) -> None:
    """The schema of this version, and the topics."""
    from shared.eventlog.open import open_admin
    from shared.migrations import migrate as migrate_database
    from shared.touchpoint import CHANGES, REJECTED, TOUCHPOINTS

    assert settings.database_url is not None
    await migrate_database(settings.database_url)
    await open_admin(settings).ensure(dict.fromkeys((TOUCHPOINTS, REJECTED, CHANGES), settings.kafka_partitions))


def _serve(kind: type[S], serve: Serve[S], *ends: type[Exception]) -> None:
    """Runs a service; what ends it against its will is said in a sentence."""
    with with_database(kind) as settings:
        try:
            run(serve, settings)
        except ends as error:
            fail(str(error) or type(error).__name__)
        except KeyboardInterrupt:
            return
