"""The three routes of every process: /healthz (alive), /readyz (dependencies, progress), /metrics (Prometheus)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, else a plain sentence on what is wrong."""

CHECK_SECONDS = 3.0


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is wrong, by name of the check; empty when the process is ready."""

    async def run(check: Check) -> str | None:
        try:
            return await asyncio.wait_for(check(), CHECK_SECONDS)
        except TimeoutError:
            return f"no answer within {CHECK_SECONDS:g} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    answers = await asyncio.gather(*(run(check) for check in checks.values()))
    return {name: answer for name, answer in zip(checks, answers, strict=True) if answer is not None}


def health_routes(checks: Mapping[str, Check], registry: CollectorRegistry) -> list[Route]:
    """Routes for a Starlette or FastAPI app; once for a registry."""
    ready = Gauge(
        "throughline_ready", "1 where a check of /readyz is well, else 0; looked at when scraped.", ["check"],
        registry=registry,
    )  # fmt: skip

    async def look() -> dict[str, str]:
        wrong = await run_checks(checks)
        for name in checks:
            ready.labels(name).set(name not in wrong)
        return wrong

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        wrong = await look()
        answer = {
            "status": "unavailable" if wrong else "ok",
            "checks": {name: wrong.get(name, "ok") for name in checks},
        }
        return JSONResponse(answer, 503 if wrong else 200)

    async def metrics(request: Request) -> Response:
        await look()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
