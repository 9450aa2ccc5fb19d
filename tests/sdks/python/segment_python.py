"""segment-analytics-python makes the calls it is told."""

from segment.analytics.client import Client

from tests.sdks.python.calls import as_segment, make, read_job, report

job, errors = read_job(), list[str]()
client = Client(
    job["key"], host=job["host"], on_error=lambda error, _: errors.append(str(error)), **job["options"]
)  # fmt: skip


def send(call: dict[str, object]) -> None:
    method, arguments = as_segment(call)
    getattr(client, method)(**arguments)


refused = make(job["calls"], send)
client.flush()
client.join()
report(refused, errors)
