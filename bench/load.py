"""A bounded HTTP load generator: prebuilt requests on connections that stay open; it counts answers and times them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Tally:
    """What came back. ``seconds`` are by status; ``lost`` requests got no answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0
    unsent: int = 0

    def note(self, status: int, took: float) -> None:
        self.statuses[status] += 1
        self.seconds.setdefault(status, []).append(took)

    def quantile(self, q: float, status: int = 200) -> float:
        """Seconds; nan when there is no such answer."""
        return quantile(self.seconds.get(status, []), q)


def quantile(values: Iterable[float], q: float) -> float:
    """The value at q (0 to 1) of what was measured; nan of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def request(path: str, body: bytes = b"", *, key: str, method: str = "POST") -> bytes:
    """The bytes of a request; the key goes as a Bearer."""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One request at a time; answers (status, body)."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None:
            return
        length = _length(bytes(self._received[:end]))
        if len(self._received) >= end + 4 + length:
            status, body = int(self._received[9:12]), bytes(self._received[end + 4 : end + 4 + length])
            self._received.clear()
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError("the server hung up"))

    async def ask(self, sent: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def connect(port: int) -> Connection:
    """An open connection to this machine."""
    _, protocol = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return protocol


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """An open connection, closed at the end."""
    one = await connect(port)
    try:
        yield one
    finally:
        one.close()


async def flat_out(port: int, requests: Iterable[bytes], connections: int) -> Tally:
    """Sends all, each connection as soon as it has its answer."""
    tally, todo = Tally(), iter(requests)

    async def worker(todo: Iterator[bytes]) -> None:
        async with connected(port) as one:
            for sent in todo:
                started = time.perf_counter()
                try:
                    status, _ = await one.ask(sent)
                except ConnectionError:
                    tally.lost += 1
                    return
                tally.note(status, time.perf_counter() - started)

    await asyncio.gather(*(worker(todo) for _ in range(connections)))
    return tally


@dataclass(slots=True)
class Pool:
    """Idle connections, opened when needed, at most ``most``."""

    port: int
    most: int
    opened: int = 0
    idle: deque[Connection] = field(default_factory=deque)

    async def take(self) -> Connection | None:
        """None: all are busy."""
        while self.idle:
            one = self.idle.pop()
            if not one.closed:
                return one
            self.opened -= 1
        if self.opened >= self.most:
            return None
        self.opened += 1
        try:
            return await connect(self.port)
        except OSError:
            self.opened -= 1
            raise

    def close(self) -> None:
        for one in self.idle:
            one.close()


async def at_rate(
    port: int, make: Callable[[int], bytes], rate: float, seconds: float, connections: int = 200,
    answered: Callable[[int, int, bytes], None] | None = None,
) -> Tally:  # fmt: skip
    """Sends ``rate`` requests a second whatever comes back; times count from the moment each was due.

    ``answered`` is told (n, status, body). With all connections busy, a request is not sent, and counted as ``unsent``.
    """
    tally, pool = Tally(), Pool(port, connections)
    started, total = time.perf_counter(), int(rate * seconds)
    tasks: set[asyncio.Task[None]] = set()

    async def one(n: int, due: float) -> None:
        try:
            connection = await pool.take()
            if connection is None:
                tally.unsent += 1
                return
            status, body = await connection.ask(make(n))
        except OSError:
            tally.lost += 1
            return
        tally.note(status, time.perf_counter() - due)
        pool.idle.append(connection)
        if answered is not None:
            answered(n, status, body)

    for n in range(total):
        due = started + n / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        elif n % 64 == 0:
            await asyncio.sleep(0)
        task = asyncio.create_task(one(n, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    tally.lost += len(tasks)
    pool.close()
    return tally
