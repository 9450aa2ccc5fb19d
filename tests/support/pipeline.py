"""The whole product as a user starts it: `throughline run` in a process of its own, asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from throughline.ports import free_port

ROOT = Path(__file__).parents[2]
READ = {"authorization": "Bearer demo-read"}


async def eventually(ask: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """Asks until the answer is true; AssertionError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (answer := await ask()):
        assert time.monotonic() < deadline, f"{ask.__name__} did not come true within {seconds} s"
        await asyncio.sleep(0.05)
    return answer


@dataclass
class Pipeline:
    """A running product. ``home`` keeps its data between two runs."""

    home: Path
    config: Path = ROOT / "deploy" / "config"
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = field(default_factory=lambda: [free_port() for _ in range(3)])
    process: subprocess.Popen[bytes] | None = None

    @property
    def ingest(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def whole_environment(self) -> dict[str, str]:
        """What its processes, and commands beside it, find in the environment."""
        ingest, metrics, stitcher = map(str, self.ports)
        return {
            **os.environ, "THROUGHLINE_HOME": str(self.home), "THROUGHLINE_CONFIG": str(self.config),
            "INGEST_PORT": ingest, "METRICS_PORT": metrics, "STITCHER_PORT": stitcher, **self.environment,
        }  # fmt: skip

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[Pipeline]:
        """Started (`throughline run` and more words), and stopped as Ctrl-C does."""
        with (self.home.parent / f"{self.home.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "throughline", *(words or ("run",))]
            self.process = subprocess.Popen(
                command, env=self.whole_environment, stdout=log, stderr=log, cwd=self.home.parent
            )
            try:
                yield self
            finally:
                self.stop()

    def stop(self) -> int:
        """The exit code, of a process asked to stop if it has not."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"it does not stop; it said:\n{self.said}") from error

    @property
    def said(self) -> str:
        """All that was printed."""
        return (self.home.parent / f"{self.home.name}.log").read_text()

    async def ready(self) -> None:
        """Waits until all three services are."""
        async with httpx.AsyncClient() as client:

            async def all_ready() -> bool:
                assert self.process is not None
                assert self.process.poll() is None, self.said
                with contextlib.suppress(httpx.TransportError):
                    answers = [await client.get(f"http://127.0.0.1:{port}/readyz") for port in self.ports]
                    return all(answer.status_code == 200 for answer in answers)
                return False

            await eventually(all_ready)

    async def ask(self, path: str) -> Any:
        """The metrics service's JSON."""
        async with httpx.AsyncClient(headers=READ, base_url=self.metrics, timeout=30) as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

    async def ask_after(self, path: str, moment: str) -> Any:
        """The answer once it holds all that was acknowledged before a moment (RFC 3339)."""

        async def caught_up() -> Any:
            answer = await self.ask(path)
            return answer if answer["as_of"] > moment else None

        return await eventually(caught_up, 120)

    def send(self) -> httpx.AsyncClient:
        """A client that may send touchpoints."""
        return httpx.AsyncClient(auth=("demo-write", ""), base_url=self.ingest, timeout=30)
