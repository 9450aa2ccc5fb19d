"""The service as a process of its own: starts, answers, drains; and an API that no input breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from services.metrics.settings import MetricsSettings
from tests.integration.metrics.seed import Seed, Told, at
from throughline.ports import free_port

KEY = {"Authorization": "Bearer all-key"}
PATIENCE = 30.0


def environment(settings: MetricsSettings, **more: str) -> dict[str, str]:
    return {
        **os.environ, "DATABASE_URL": str(settings.database_url),
        "THROUGHLINE_CONFIG": str(settings.throughline_config), "LOG_FORMAT": "json",
        "METRICS_PORT": str(free_port()), **more,
    }  # fmt: skip


def start(env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "services.metrics"]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def process(settings: MetricsSettings, seed: Seed) -> Iterator[tuple[subprocess.Popen[str], str]]:
    env = environment(settings)
    url, running = f"http://127.0.0.1:{env['METRICS_PORT']}", start(env)
    try:
        wait_for(running, f"{url}/healthz")
        yield running, url
    finally:
        running.kill()
        running.communicate()


def wait_for(running: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and running.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            continue
    raise AssertionError(f"{url} does not answer: {running.stderr.read() if running.stderr else ''}")


async def test_drains_on_sigterm_though_a_stream_is_open(
    process: tuple[subprocess.Popen[str], str], seed: Seed
) -> None:
    running, url = process
    await seed.map()
    async with (
        httpx.AsyncClient(headers=KEY, timeout=PATIENCE) as client,
        client.stream("GET", f"{url}/v1/stream") as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: now"
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert len([line async for line in lines]) >= 1
    assert running.wait(PATIENCE) == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_on_either_signal(process: tuple[subprocess.Popen[str], str], name: signal.Signals) -> None:
    running, _ = process
    running.send_signal(name)
    assert running.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [("readers.yaml", "readers: [{name: x}]", "readers.yaml"), ("sources.yaml", "nothing", "sources.yaml")],
)
def test_a_misconfiguration_is_said_in_a_sentence(settings: MetricsSettings, file: str, text: str, named: str) -> None:
    Path(settings.throughline_config, file).write_text(text)
    running = start(environment(settings))
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 2
    assert named in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("allowed", "code"), [("0", 2), ("1", None)])
def test_the_demo_key_is_for_this_machine_only(settings: MetricsSettings, allowed: str, code: int | None) -> None:
    path = Path(settings.throughline_config, "readers.yaml")
    path.write_text("readers: [{name: demo, keys: [demo-read], scopes: [metrics]}]")
    env = environment(settings, THROUGHLINE_HOST="0.0.0.0", THROUGHLINE_ALLOW_DEMO_KEYS=allowed)
    running = start(env)
    try:
        if code is None:
            wait_for(running, f"http://127.0.0.1:{env['METRICS_PORT']}/healthz")
        else:
            assert running.wait(PATIENCE) == code
    finally:
        running.kill()
        _, said = running.communicate()
    assert "demo" in said


async def seeded(seed: Seed) -> None:
    map_id = await seed.map()
    await seed.partition(at("23 10:00"))
    await seed.journey(
        map_id, Told([(0, at("2 10:00")), (2, at("2 11:00"))], segments=["vip"], converted=at("2 11:00"))
    )
    await seed.profile("user_id:u1", traits={"tier": "gold"})
    await seed.identifier("user_id:u1")
    await seed.identifier("email:e@x", "user_id:u1", degree=1)
    await seed.link("email:e@x", "user_id:u1", at("2 10:00"))
    await seed.touchpoint("user_id:u1", "t1", at("2 10:00"))


@pytest.fixture
async def filled(process: tuple[subprocess.Popen[str], str], seed: Seed) -> str:
    await seeded(seed)
    return process[1]


def test_no_input_breaks_it_and_every_answer_is_as_documented(filled: str) -> None:
    schema = schemathesis.openapi.from_url(f"{filled}/openapi.json")
    checks = [not_a_server_error, response_schema_conformance, content_type_conformance]
    asked = 0
    for found in schema.exclude(path="/v1/stream").get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # an Err has no such method and fails the test
        for given_parameters in (operation.as_strategy(), known(operation)):

            @hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=given_parameters)
            def ask(case: Any) -> None:
                case.call_and_validate(headers=KEY, checks=checks)

            ask()
            asked += 1
    assert asked == 2 * 14


def known(operation: Any) -> Any:
    """The same with a map and a profile that there are."""

    def fill(case: Any) -> Any:
        for name, value in (("map", "shop"), ("who", "user_id:u1")):
            if name in case.path_parameters:
                case.path_parameters[name] = value
        return case

    return operation.as_strategy().map(fill)
