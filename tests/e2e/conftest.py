"""Both logs that the product runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka import KafkaBroker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of the test's own: the product's topics have fixed names."""
    broker = KafkaBroker(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.resume()
    broker.kill()


@pytest.fixture(params=["embedded", "kafka"])
def log(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that chooses the log."""
    if request.param == "embedded":
        return {}
    broker: KafkaBroker = request.getfixturevalue("own_broker")
    return {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}
