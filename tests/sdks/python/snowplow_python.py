"""snowplow-tracker makes the calls it is told."""

import sys
import time
from typing import Any
from urllib.parse import urlsplit

from snowplow_tracker.emitters import Emitter
from snowplow_tracker.events.page_view import PageView
from snowplow_tracker.events.screen_view import ScreenView
from snowplow_tracker.events.self_describing import SelfDescribing
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.subject import Subject
from snowplow_tracker.tracker import Tracker

from tests.sdks.python.calls import Call, make, read_job, report

PATIENCE = 20  # seconds that a retry may take


def send(call: Call) -> None:
    when = call["time"]
    more: dict[str, Any] = {
        "event_subject": Subject().set_user_id(call["user"]),
        "context": [SelfDescribingJson("iglu:example/call/jsonschema/1-0-0", {"n": call["n"]})],
        "true_timestamp": int(when.timestamp() * 1000) if when else None,
    }
    match call["type"]:
        case "track":
            schema = f"iglu:example/{call['event']}/jsonschema/1-0-0"
            tracker.track(SelfDescribing(SelfDescribingJson(schema, call["properties"]), **more))
        case "page":
            tracker.track(PageView("https://shop.example/", page_title=call["name"], **more))
        case "screen":
            tracker.track(ScreenView(id_=str(call["n"]), name=call["name"], **more))


def left() -> int:
    """The events that wait, while nothing is being sent."""
    with emitter.lock:
        return int(emitter.event_store.size())


job, errors = read_job(), list[str]()
at = urlsplit(job["host"])
emitter = Emitter(
    str(at.hostname), "http", at.port, on_failure=lambda sent, unsent: errors.append(f"{len(unsent)} unsent"),
    **job["options"],
)  # fmt: skip
tracker = Tracker("sdks", emitter, app_id=job["app"])
refused = make(job["calls"], send)
tracker.flush()
deadline = time.monotonic() + PATIENCE
while left() and time.monotonic() < deadline:
    time.sleep(0.05)
print(left(), "left", file=sys.stderr)
report(refused, errors)
