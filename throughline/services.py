"""`ingest`, `stitcher`, `metrics`: one service alone in the foreground. `migrate`: the database and the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.ingest.settings import IngestSettings
from services.metrics.settings import MetricsSettings
from services.stitcher.settings import StitcherSettings
from shared.eventlog.open import open_admin
from shared.eventlog.port import LogUnavailable
from shared.migrations import migrate as migrate_database
from shared.settings import Settings
from shared.touchpoint import CHANGES, REJECTED, TOUCHPOINTS
from throughline.environment import S, fail, with_database


def ingest() -> None:
    """Take touchpoints over HTTP and put them on the log, until SIGTERM or SIGINT."""
    from services.ingest.app import serve

    _serve(IngestSettings, serve)


def stitcher() -> None:
    """Stitch the log into journeys, until SIGTERM or SIGINT. A second one shares the work."""
    from services.stitcher.app import serve

    _serve(StitcherSettings, serve)


def metrics() -> None:
    """Answer questions about journeys, until SIGTERM or SIGINT."""
    from services.metrics.app import serve

    _serve(MetricsSettings, serve)


def migrate() -> None:
    """Prepare the database and the topics; may run again at any time."""
    with with_database(Settings) as settings:
        try:
            asyncio.run(_migrate(settings))
        except (OSError, LogUnavailable) as error:
            fail(str(error))


async def _migrate(settings: Settings) -> None:
    assert settings.database_url is not None
    await migrate_database(settings.database_url)
    await open_admin(settings).ensure(dict.fromkeys((TOUCHPOINTS, REJECTED, CHANGES), settings.kafka_partitions))


def _serve(kind: type[S], serve: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    with with_database(kind) as settings:
        try:
            asyncio.run(serve(settings))
        except (ValueError, OSError, LogUnavailable) as error:
            fail(str(error) or type(error).__name__)
        except KeyboardInterrupt:
            return
