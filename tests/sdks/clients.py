"""The SDKs that are run, and what each can and cannot do."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sdks.story import TOO_LARGE

HERE = Path(__file__).parent
ALL = frozenset(("identify", "track", "page", "screen", "group", "alias"))


@dataclass(frozen=True)
class Client:
    """An SDK with its options. ``calls``: the types of the story that it has methods for. ``holds_back``: the events
    that it refuses to send by itself."""

    name: str
    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    calls: frozenset[str] = ALL
    holds_back: frozenset[str] = frozenset()

    @property
    def command(self) -> list[str]:
        if self.driver.endswith(".mjs"):
            return ["node", str(HERE / self.driver)]
        return [sys.executable, "-m", f"tests.sdks.{self.driver}"]


PROGRAMS = [
    Client("segment-python", "python.segment_python", holds_back=frozenset((TOO_LARGE,))),
    Client("segment-python-gzip", "python.segment_python", {"gzip": True}, holds_back=frozenset((TOO_LARGE,))),
    Client("segment-node", "node/segment_node.mjs"),
    Client("rudder-python", "python.rudder_python"),
    Client("rudder-node", "node/rudder_node.mjs"),
    Client("rudder-node-plain", "node/rudder_node.mjs", {"gzip": False}),
]
