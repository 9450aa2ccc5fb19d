"""posthog makes the calls it is told."""

from typing import Any

from posthog import Posthog

from tests.sdks.python.calls import Call, make, read_job, report


def send(call: Call) -> Any:
    who: dict[str, Any] = {"distinct_id": call["user"], "timestamp": call["time"]}
    match call["type"]:
        case "track":
            return client.capture(call["event"], properties=call["properties"], **who)
        case "page":
            return client.capture("$pageview", properties=call["properties"], **who)
        case "screen":
            named = {"$screen_name": call["name"], **call["properties"]}
            return client.capture("$screen", properties=named, **who)
        case "identify":
            return client.set(properties=call["traits"], **who)
        case "group":
            return client.group_identify("company", call["group_id"], call["traits"], **who)
        case "alias":
            return client.alias(call["previous_id"], **who)


job, errors = read_job(), list[str]()
client = Posthog(job["key"], job["host"], on_error=lambda error, _: errors.append(str(error)), **job["options"])
refused = make(job["calls"], send)
client.shutdown()
report(refused, errors)
