"""The data sets: each as lines, as calls to post, as touchpoints, with its map and its reference figures."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.journey_map import JourneyMap, parse_map
from shared.touchpoint import Touchpoint

ROOT: Final = Path(__file__).parents[2]
DATA: Final = ROOT / "tests" / "data"
PLACES: Final = {
    "apache_logs": DATA, "otto_sample": DATA, "rete_ecom": ROOT / "deploy" / "demo",
    "snowplow_fractribution": DATA, "wiki_readers": DATA,
}  # fmt: skip
NAMES: Final = tuple(PLACES)

ACQUISITIONS: Final = {  # what the sets call a channel -> the channel group it is; the others are none of ours
    "direct": "Direct", "Direct": "Direct", "email": "Email", "organic": "Organic Search", "paid_search": "Paid Search",
    "social": "Organic Social", "search": "Organic Search", "referral": "Referral", "Organic_Search": "Organic Search",
    "Paid_Search_Other": "Paid Search", "Referral": "Referral", "Video": "Organic Video",
    "Unmatched_Channel": "Unassigned",
}  # fmt: skip


def lines(name: str) -> list[dict[str, Any]]:
    """The set as it is, in its own order."""
    with gzip.open(PLACES[name] / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def reference(name: str) -> dict[str, Any]:
    """Its figures, computed elsewhere."""
    found: dict[str, Any] = json.loads((DATA / f"{name}.reference.json").read_text(encoding="utf-8"))
    return found


def journey_map(name: str) -> JourneyMap:
    """The map that its journeys are folded with in the tests."""
    path = DATA / "maps" / f"{name}.yaml"
    return parse_map(path.read_text(encoding="utf-8"), str(path))


def without_timeout(m: JourneyMap) -> JourneyMap:
    """The same map, in which silence ends nothing."""
    stages = [stage.model_copy(update={"timeout": None}) for stage in m.stages]
    return m.model_copy(update={"timeout": None, "reentry": None, "stages": stages})


def sessions(timeout: timedelta = timedelta(minutes=30)) -> JourneyMap:
    """A map of one stage that everything matches: its journeys are sessions."""
    stages = [{"name": "there", "when": [{"event": "*"}]}]
    return JourneyMap.model_validate({"map": "sessions", "timeout": timeout, "stages": stages})


def calls(name: str) -> list[dict[str, Any]]:
    """The set as Segment track calls for ``POST /v1/batch``."""
    return [call(line) for line in lines(name)]


def call(line: dict[str, Any]) -> dict[str, Any]:
    who = {"userId": line["user"]} if "user" in line else {"anonymousId": line["anonymous"]}
    group = ACQUISITIONS.get(line.get("channel", ""))
    return {
        "type": "track", "messageId": line["id"], **who, "event": line["event"], "timestamp": line["time"],
        "properties": line["properties"], "context": {"acquisition": group} if group else {},
    }  # fmt: skip


def touchpoints(name: str, source: str = "shop-web", channel: str = "web") -> list[Touchpoint]:
    """The set as it lies on the log, each line received a second after its time."""
    return [touchpoint(line, source, channel) for line in lines(name)]


def touchpoint(line: dict[str, Any], source: str, channel: str) -> Touchpoint:
    time = datetime.fromisoformat(line["time"])
    group = ACQUISITIONS.get(line.get("channel", ""))
    return Touchpoint(
        id=line["id"], type="track", event=line["event"], time=time, received_at=time + timedelta(seconds=1),
        source=source, channel=channel, acquisition=group,
        ids={"user_id": line["user"]} if "user" in line else {"anonymous_id": line["anonymous"]},
        properties=line["properties"], context={"acquisition": group} if group else {},
    )  # fmt: skip


def records(touchpoints: list[Touchpoint]) -> list[bytes]:
    """As the log has them."""
    return [msgspec.json.encode(one) for one in touchpoints]
