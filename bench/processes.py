"""The real processes: started on free ports, their CPU and memory read from the process table, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from tests.support.kafka import KafkaBroker
from throughline.embedded import Server
from throughline.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "bench" / "config"
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A process and all that it started."""

    name: str
    pid: int
    port: int = 0

    def tree(self) -> list[psutil.Process]:
        """Itself and its descendants, those that are alive."""
        with contextlib.suppress(psutil.NoSuchProcess):
            one = psutil.Process(self.pid)
            return [one, *one.children(recursive=True)]
        return []

    def cpu(self) -> float:
        """CPU seconds until now: of those that live, and of children that have ended and were waited for."""
        total = 0.0
        for one in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory(self) -> Memory:
        """Of the whole tree, in bytes."""
        rss = pss = 0
        for one in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                full = one.memory_full_info()
                rss, pss = rss + full.rss, pss + getattr(full, "pss", full.rss)
        return Memory(rss, pss)


@dataclass(frozen=True, slots=True)
class Memory:
    """``rss`` counts shared pages in each process, ``pss`` once."""

    rss: int
    pss: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss + other.rss, self.pss + other.pss)


@dataclass(slots=True)
class Machinery:
    """Starts real things below ``home``; leaving the context stops them all."""

    home: Path
    config: Path = CONFIG
    environment: dict[str, str] = field(default_factory=dict)
    _exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def kafka(self, partitions: int = 8) -> Running:
        """A broker of its own; the services started later use it."""
        broker = KafkaBroker(self.home / "kafka")
        broker.start()
        self._exits.callback(broker.kill)
        self.environment |= {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "KAFKA_PARTITIONS": str(partitions)}
        return Running("kafka", broker.pid, broker.port)

    def postgres(self) -> Running:
        """A durable PostgreSQL of its own; the services started later use it."""
        server = Server(self.home / "postgres")
        self._exits.enter_context(server.in_use())
        self.environment["DATABASE_URL"] = server.url
        pid = int((server.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        return Running("postgres", pid)

    def service(self, name: str, **settings: str) -> Running:
        """`throughline NAME`, once it says that it is ready."""
        port = free_port()
        environment = {f"{name.upper()}_PORT": str(port)} | settings
        return self.command(name, [sys.executable, "-m", "throughline", name], port, "/readyz", environment)

    def command(
        self, name: str, words: Sequence[str], port: int, ready: str | None, environment: Mapping[str, str]
    ) -> Running:
        """Any process; waited for until ``ready`` answers 200."""
        given = {**os.environ, "THROUGHLINE_CONFIG": str(self.config), "THROUGHLINE_HOME": str(self.home / "home")}
        given |= {"LOG_LEVEL": "warning", "PYTHONPATH": str(ROOT), **self.environment, **environment}
        output = self._exits.enter_context((self.home / f"{name}.log").open("ab"))
        process = subprocess.Popen(words, env=given, cwd=self.home, stdout=output, stderr=output)
        self._exits.callback(stop, process)
        running = Running(name, process.pid, port)
        if ready is not None:
            self._wait(process, f"http://127.0.0.1:{port}{ready}", name)
        return running

    def _wait(self, process: subprocess.Popen[bytes], url: str, name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2):
                return
            time.sleep(0.05)
        said = (self.home / f"{name}.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{name} did not get ready:\n{said}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does; killed when it does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(35)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def spent(*processes: Running) -> Iterator[dict[str, float]]:
    """CPU seconds by process name, filled in when the block ends."""
    found: dict[str, float] = {}
    before = {one.name: one.cpu() for one in processes}
    yield found
    found |= {one.name: one.cpu() - before[one.name] for one in processes}
