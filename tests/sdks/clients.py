"""The SDKs that are run, and what each can and cannot do."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sdks.story import TOO_LARGE, Call

HERE = Path(__file__).parent
KEY, JITSU_KEY = "sdk-key", "sdk:secret"  # Jitsu's client wants a colon in its key


@dataclass(frozen=True)
class Client:
    """An SDK with its options. ``lacks``: what it has no way to say: types of calls, and members of calls as
    `type.member`. Events: those that it ``holds_back`` itself; those whose rejection it ``hears_of``."""

    name: str
    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    holds_back: frozenset[str] = frozenset()
    hears_of: frozenset[str] = frozenset()
    key: str = KEY

    @property
    def command(self) -> list[str]:
        if self.driver.endswith(".mjs"):
            return ["node", str(HERE / self.driver)]
        return [sys.executable, "-m", f"tests.sdks.{self.driver}"]

    def sayable(self, calls: list[Call]) -> list[Call]:
        """The calls without what it lacks."""
        return [self._sayable(call) for call in calls if call["type"] not in self.lacks]

    def _sayable(self, call: Call) -> Call:
        return {name: value for name, value in call.items() if f"{call['type']}.{name}" not in self.lacks}


LARGE = frozenset((TOO_LARGE,))
OF_JITSU = frozenset(("screen", "alias", *(f"{one}.time" for one in ("identify", "track", "page", "group"))))
OF_SNOWPLOW = frozenset(("identify", "group", "alias", "page.properties", "screen.properties"))
NO_PAGE_NAME = frozenset(("page.name",))
PATIENT = {"connectionTimeout": 60_000}  # for a machine that is busy: what is large is sent once only
PROGRAMS = [
    Client("segment-python", "python.segment_python", holds_back=LARGE),
    Client("segment-python-gzip", "python.segment_python", {"gzip": True}, holds_back=LARGE),
    Client("segment-node", "node/segment_node.mjs"),
    Client("rudder-python", "python.rudder_python"),
    Client("rudder-node", "node/rudder_node.mjs"),
    Client("rudder-node-plain", "node/rudder_node.mjs", {"gzip": False}),
    Client("jitsu-node", "node/jitsu_node.mjs", lacks=OF_JITSU, key=JITSU_KEY),
    Client("jitsu-node-s2s", "node/jitsu_node.mjs", {"s2s": True}, lacks=OF_JITSU, key=JITSU_KEY),
    Client("posthog-python", "python.posthog_python", lacks=NO_PAGE_NAME),
    Client(
        "posthog-python-v1",
        "python.posthog_python",
        {"gzip": True, "capture_mode": "v1"},
        lacks=NO_PAGE_NAME,
        hears_of=LARGE,
    ),
    Client(
        "posthog-node",
        "node/posthog_node.mjs",
        lacks=NO_PAGE_NAME | {"identify.time", "group.time", "alias.time"},
    ),
    Client("snowplow-python", "python.snowplow_python", {"batch_size": 25}, lacks=OF_SNOWPLOW),
    Client("snowplow-python-get", "python.snowplow_python", {"method": "get", "batch_size": 1}, lacks=OF_SNOWPLOW),
    Client("snowplow-node", "node/snowplow_node.mjs", PATIENT, lacks=OF_SNOWPLOW),
    Client("cloudevents-python", "python.cloudevents_python"),
    Client("cloudevents-node", "node/cloudevents_node.mjs"),
]
