"""`run`: all three services as children of one process; what stops one stops all, with its reason."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import typer

from shared.keys import has_demo_key, load_readers, load_sources
from shared.settings import Settings
from throughline.environment import fail, with_database
from throughline.ports import is_free

READY_SECONDS = 120.0
STOP_SECONDS = 26.0
_PR_SET_PDEATHSIG = 1
Companion = Callable[[Settings], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Child:
    """A service that was started."""

    name: str
    process: asyncio.subprocess.Process


def run_command(
    demo: Annotated[bool, typer.Option("--demo", help="Import a sample history and keep live traffic going.")] = False,
) -> None:
    """Run the whole pipeline in the foreground, until Ctrl-C."""
    if demo:
        from throughline.demo import companion

        run(companion)
    else:
        run()


def run(companion: Companion | None = None) -> None:
    """Runs until Ctrl-C, SIGTERM or the end of a part. ``companion`` runs beside the services once they are ready."""
    with with_database(Settings) as settings:
        if (reason := taken(settings)) is not None:
            fail(reason)
        sources, readers = load_sources(settings.throughline_config), load_readers(settings.throughline_config)
        keys = [one.keys for one in sources] + [one.keys for one in readers]
        demo = has_demo_key(frozenset().union(*keys))
        reason = asyncio.run(_supervise(settings, demo, companion))
    if reason:
        fail(reason)


async def _supervise(settings: Settings, demo: bool, companion: Companion | None) -> str | None:
    """Answers why it ended, None if somebody asked it to."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with _children(settings) as children:
        stop = asyncio.create_task(asked.wait())
        ends = {asyncio.create_task(child.process.wait()): child.name for child in children}
        ready = asyncio.create_task(_ready(settings))
        beside: asyncio.Task[None] | None = None
        pending: set[asyncio.Task[Any]] = {stop, ready, *ends}
        try:
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if stop in done:
                    return None
                for task in done & ends.keys():
                    return f"{ends[task]} ended with exit code {task.result()}; its reason stands above"
                if ready in done:
                    if (sentence := ready.result()) is not None:
                        return sentence
                    typer.echo(welcome(settings, demo))
                    if companion is not None:
                        beside = asyncio.create_task(companion(settings))
                        pending.add(beside)
                if beside is not None and beside in done:
                    return f"the demo ended: {beside.exception()}"
        finally:
            for task in pending | ends.keys():
                task.cancel()


@contextlib.asynccontextmanager
async def _children(settings: Settings) -> AsyncIterator[list[Child]]:
    environment = {**os.environ, "DATABASE_URL": settings.database_url or ""}
    children: list[Child] = []
    try:
        for name in ports(settings):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{name}", env=environment, stdin=asyncio.subprocess.DEVNULL,
                process_group=0, preexec_fn=_end_with_parent(),
            )  # fmt: skip
            children.append(Child(name, process))
        yield children
    finally:
        await _stop(children)


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux a service is told to stop even if we are killed. Ctrl-C reaches us alone: we tell the services."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


async def _stop(children: list[Child]) -> None:
    """SIGTERM to all; whoever has not drained in time is killed."""
    for child in children:
        if child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
    waits = [asyncio.create_task(child.process.wait()) for child in children]
    if waits:
        await asyncio.wait(waits, timeout=STOP_SECONDS)
    for child in children:
        if child.process.returncode is None:
            typer.echo(f"throughline: {child.name} did not stop in {STOP_SECONDS:.0f} s and is killed", err=True)
            child.process.kill()
            await child.process.wait()


async def _ready(settings: Settings) -> str | None:
    """Waits until all services are ready; answers a sentence if they are not in time."""
    waiting = ports(settings)
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    async with httpx.AsyncClient(timeout=5) as client:
        while waiting:
            for name, port in list(waiting.items()):
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://{local(settings)}:{port}/readyz")).status_code == 200:
                        del waiting[name]
            if waiting and asyncio.get_running_loop().time() > deadline:
                return f"{', '.join(waiting)} did not get ready within {READY_SECONDS:.0f} s"
            await asyncio.sleep(0.05)
    return None


def taken(settings: Settings) -> str | None:
    """Which of the services' ports somebody else listens on, in a sentence; None if they are free."""
    for name, port in ports(settings).items():
        if not is_free(port, local(settings)):
            return f"port {port} of {name} is in use, perhaps by another Throughline; set {name.upper()}_PORT"
    return None


def ports(settings: Settings) -> dict[str, int]:
    """Each service's port."""
    return {"ingest": settings.ingest_port, "stitcher": settings.stitcher_port, "metrics": settings.metrics_port}


def local(settings: Settings) -> str:
    """Where this machine reaches what listens on the configured host."""
    return "127.0.0.1" if settings.throughline_host in ("0.0.0.0", "::", "localhost") else settings.throughline_host


def welcome(settings: Settings, demo: bool) -> str:
    """What to do now that it runs."""
    host = local(settings)
    ingest, metrics = f"http://{host}:{settings.ingest_port}", f"http://{host}:{settings.metrics_port}"
    write, read = ("demo-write", "demo-read") if demo else ("<write key>", "<read key>")
    lines = [
        "",
        "Throughline is running. Ctrl-C stops it; the data stays.",
        f"  journey map   {metrics}/?key={read}" if demo else f"  journey map   {metrics}/",
        f"  send to       {ingest}/v1/track",
        f"  ask           {metrics}/docs",
        "",
        f"  curl -u {write}: {ingest}/v1/track -H 'content-type: application/json' \\",
        '    -d \'{"userId": "u1", "event": "Product Viewed", "messageId": "m1"}\'',
        f"  curl -H 'authorization: Bearer {read}' {metrics}/v1/maps/shop/funnel",
        "",
    ]
    if demo:
        warning = "  The keys demo-write and demo-read are PUBLISHED: anybody knows them. Fine on this machine only."
        lines[-1:] = ["", warning, ""]
    return "\n".join(lines)
