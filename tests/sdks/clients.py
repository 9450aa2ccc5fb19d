"""The SDKs that are run, and what each can and cannot do."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sdks.story import LARGE, TOO_LARGE, Call

HERE = Path(__file__).parent
APP = "sdk-app"
KEY, JITSU_KEY = "sdk-key", "sdk:secret"  # Jitsu's client wants a colon in its key


@dataclass(frozen=True)
class Client:
    """An SDK with its options, and what ``more`` its driver is told. ``lacks``: what it has no way to say: types of
    calls, members of calls as `type.member`, events. Events that it ``holds_back``, whose rejection it ``hears_of``."""

    name: str
    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    holds_back: frozenset[str] = frozenset()
    hears_of: frozenset[str] = frozenset()
    key: str = KEY
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        if self.driver.endswith(".mjs"):
            return ["node", str(HERE / self.driver)]
        return [sys.executable, "-m", f"tests.sdks.{self.driver}"]

    def job(self, host: str, calls: list[Call]) -> dict[str, Any]:
        """What its driver is told."""
        return {"host": host, "key": self.key, "app": APP, "options": self.options, "calls": calls, **self.more}

    def sayable(self, calls: list[Call]) -> list[Call]:
        """The calls without what it lacks."""
        return [self._sayable(call) for call in calls if not self.lacks & {call["type"], call.get("event")}]

    def _sayable(self, call: Call) -> Call:
        return {name: value for name, value in call.items() if f"{call['type']}.{name}" not in self.lacks}


OVERSIZE = frozenset((TOO_LARGE,))
OF_JITSU = frozenset(("screen", "alias", *(f"{one}.time" for one in ("identify", "track", "page", "group"))))
OF_SNOWPLOW = frozenset(("identify", "group", "alias", "page.properties", "screen.properties"))
NO_PAGE_NAME = frozenset(("page.name",))
PATIENT = {"connectionTimeout": 60_000}  # for a machine that is busy: what is large is sent once only
PROGRAMS = [
    Client("segment-python", "python.segment_python", holds_back=OVERSIZE),
    Client("segment-python-gzip", "python.segment_python", {"gzip": True}, holds_back=OVERSIZE),
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
        hears_of=OVERSIZE,
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

UNTIMED = frozenset(f"{one}.time" for one in ("identify", "track", "page", "group", "alias"))
QUICK = {"flush_interval_ms": 250}
OF_POSTHOG = {"capture_pageleave": False, "opt_out_useragent_filter": True, "request_queue_config": QUICK}
BATCHING = {"deliveryStrategy": {"strategy": "batching", "config": {"size": 25, "timeout": 250}}}
SLOWLY = {"deliveryStrategy": {"strategy": "batching", "config": {"size": 25, "timeout": 60_000}}}
# A browser takes 64 KB of beacons at a time.
BEACON = {"useBeacon": True, "beaconQueueOptions": {"flushQueueInterval": 250}}
IN_A_PAGE = [
    Client("segment-js", "segment"),
    Client("segment-js-batching", "segment", {"integrations": {"Segment.io": BATCHING}}),
    Client("rudder-js", "rudder", lacks=UNTIMED | {"screen"}),
    Client("rudder-js-beacon", "rudder", BEACON, lacks=UNTIMED | {"screen", LARGE, TOO_LARGE}),
    Client("jitsu-js", "jitsu", lacks=OF_JITSU, key=JITSU_KEY),
    Client("posthog-js", "posthog", OF_POSTHOG, lacks=NO_PAGE_NAME | {"identify.time", "group.time", "alias"}),
    Client("snowplow-js", "snowplow", PATIENT, lacks=OF_SNOWPLOW | {"screen"}),
]
LEAVE = {"leave": True}
BEFORE_ITS_FLUSH = {**OF_POSTHOG, "request_queue_config": {"flush_interval_ms": 5000}}
LEAVING = [  # what can be sent while a page goes: batches that are kept alive, beacons
    Client("segment-js-leaving", "segment", {"integrations": {"Segment.io": SLOWLY}}, more=LEAVE | {"pause": 300}),
    Client("rudder-js-leaving", "rudder", {"useBeacon": True}, lacks=UNTIMED, more=LEAVE),
    Client("posthog-js-leaving", "posthog", BEFORE_ITS_FLUSH, more=LEAVE | {"pause": 300}),
    Client("snowplow-js-leaving", "snowplow", {"keepalive": True}, lacks=frozenset(("identify",)), more=LEAVE),
]
