"""cloudevents builds the requests it is told, in binary and in structured mode by turns; httpx sends them."""

from typing import Any
from uuid import uuid4

import httpx
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.sdks.python.calls import Call, as_data, make, read_job, report


def send(call: Call) -> None:
    attributes: dict[str, Any] = {"id": str(uuid4()), "source": "/sdks", "specversion": "1.0", "subject": call["user"]}
    named = {"type": call.get("event", f"example.{call['type']}"), "time": call["time"]}
    event = CloudEvent(attributes | {key: value for key, value in named.items() if value}, as_data(call))
    message = (to_structured if call["n"] % 2 else to_binary)(event, JSONFormat())
    answer = client.post("/events", headers=message.headers, content=message.body)
    if answer.is_error:
        errors.append(answer.text)


job, errors = read_job(), list[str]()
with httpx.Client(base_url=job["host"], headers={"authorization": f"Bearer {job['key']}"}) as client:
    refused = make(job["calls"], send)
report(refused, errors)
