"""The compose file, the image and `.env.example` fit the code, as far as can be seen without Docker."""

from __future__ import annotations

import re
import subprocess
import sys

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from shared.health import health_routes
from shared.keys import DEMO_KEYS
from tests.deploy.stack import COMPOSE, OURS, ROOT, environment, names_of_settings, services, settings, variables
from throughline.cli import COMMANDS

PORTS = {"ingest": "ingest_port", "stitcher": "stitcher_port", "metrics": "metrics_port"}
CONTAINERS_ONLY = {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}


def test_the_compose_file_is_one() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("service", OURS)
def test_a_container_is_told_nothing_but_settings(service: str) -> None:
    assert environment(service).keys() <= {name.upper() for name in OURS[service].model_fields}


@pytest.mark.parametrize("service", OURS)
def test_a_container_runs_a_command_of_ours(service: str) -> None:
    (command,) = services()[service]["command"]
    assert command == service
    assert command in COMMANDS


@pytest.mark.parametrize("service", OURS)
def test_a_container_speaks_to_the_others_by_their_names(service: str) -> None:
    told, postgres = settings(service), environment("postgres")
    assert told.database_url == (
        f"postgresql://{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}@postgres:5432/{postgres['POSTGRES_DB']}"
    )
    assert f"PLAINTEXT://{told.kafka_bootstrap_servers}" == environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize("service", PORTS)
def test_health_is_asked_where_it_is_served(service: str) -> None:
    test = services()[service]["healthcheck"]["test"]
    asked = re.search(r"urlopen\('http://127\.0\.0\.1:(\d+)(/\w+)'", test[-1])
    assert asked is not None
    assert int(asked[1]) == getattr(settings(service), PORTS[service])
    assert asked[2] in [route.path for route in health_routes({}, CollectorRegistry())]
    compile(test[-1], "healthcheck", "exec")


@pytest.mark.parametrize("service", ["ingest", "metrics"])
def test_the_port_that_is_open_is_the_one_listened_on(service: str) -> None:
    (port,) = services()[service]["ports"]
    assert int(port.rsplit(":", 1)[1]) == getattr(settings(service), PORTS[service])


def test_every_port_is_open_to_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_demo_keys_are_accepted_on_all_addresses_of_a_container_and_it_is_said_aloud() -> None:
    told = settings("ingest")
    assert (told.on_loopback, told.throughline_allow_demo_keys) == (False, True)
    beginning = COMPOSE.read_text().partition("\nname:")[0]
    assert all(key in beginning for key in DEMO_KEYS)
    assert "PUBLISHED" in beginning


def test_all_that_others_wait_for_says_when_it_is_healthy() -> None:
    stack = services()
    for service in stack.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] == ("service_completed_successfully" if name == "migrate" else "service_healthy")
            assert name == "migrate" or "healthcheck" in stack[name]


def test_every_volume_and_mounted_folder_is_there() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_dir() if source.startswith(".") else f"\n  {source}:" in COMPOSE.read_text()


def test_env_example_has_every_variable_and_nothing_unknown() -> None:
    told = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert variables() <= told
    assert told - CONTAINERS_ONLY <= names_of_settings()


async def test_postgresql_knows_what_it_is_told(postgres_url: str) -> None:
    told = dict(flag.removeprefix("-c").split("=") for flag in services()["postgres"]["command"][1:])
    connection = await asyncpg.connect(postgres_url)
    try:
        known = await connection.fetch("select name from pg_settings where name = any($1)", list(told))
    finally:
        await connection.close()
    assert {row["name"] for row in known} == told.keys()
