"""Reads a configuration again when its files change or a SIGHUP comes; a broken one changes nothing, and is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Gauge

T = TypeVar("T")
Stamp = frozenset[tuple[str, int, int, int]]
_log = structlog.get_logger(__name__)


class ReloadGauges:
    """What is told about reading again; once for a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.success = Gauge(
            "throughline_config_reload_success",
            "1 where the files of the configuration are in force as they are, 0 where they are broken.",
            registry=registry,
        )
        self.timestamp = Gauge(
            "throughline_config_reload_timestamp_seconds", "When the configuration in force was read.",
            registry=registry,
        )  # fmt: skip
        self.succeeded(time.time())

    def succeeded(self, now: float) -> None:
        self.success.set(1)
        self.timestamp.set(now)


class Reloading(Generic[T]):
    """``read`` answers a configuration, or raises ValueError with a sentence; ``use`` puts it in force."""

    def __init__(self, folder: Path, read: Callable[[], T], use: Callable[[T], None], gauges: ReloadGauges) -> None:
        self._folder, self._read, self._use, self._gauges = folder, read, use, gauges
        self._seen = stamp(folder)
        self._woken = asyncio.Event()
        self._asked = False

    def wake(self) -> None:
        """Reads at once, whether or not something seems to have changed."""
        self._asked = True
        self._woken.set()

    async def run(self, seconds: float) -> None:
        """Looks every so often, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)
            self._woken.clear()
            await self.look()

    async def look(self) -> None:
        """Reads what has changed since the last time, if anything has."""
        seen = await asyncio.to_thread(stamp, self._folder)
        if seen == self._seen and not self._asked:
            return
        self._seen, self._asked = seen, False
        try:
            fresh = await asyncio.to_thread(self._read)
        except Exception as error:  # whatever it is, requests go on as before
            self._gauges.success.set(0)
            _log.error("the configuration is broken; the old one stays in force", reason=str(error))
        else:
            self._use(fresh)
            self._gauges.succeeded(time.time())
            _log.info("the configuration has been read again")


def stamp(folder: Path) -> Stamp:
    """What tells whether any file below has been changed, replaced, added or taken away."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
    return frozenset(found)
