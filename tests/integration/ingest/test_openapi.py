"""The served OpenAPI: it names every path, and nothing that it allows breaks the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from services.ingest.dialects import jitsu, pixel, posthog
from services.ingest.docs_dialects import POSTS
from services.ingest.routes import ROUTES
from tests.integration.ingest.conftest import Service

HIDDEN = {
    "/beacon/v1/batch",
    *(posthog.ROUTES.keys() | jitsu.ROUTES.keys()) - POSTS.keys(),
    *pixel.ROUTES,  # as /v1/pixel/{type} and /pixel/v1/{type}
    "/i",  # not by POST, and
    "/events",  # not with 200: below
}


def test_nothing_that_may_be_sent_breaks_it(service: Service) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert operations
    for operation in operations:
        sending(operation)()


def sending(operation: schemathesis.schemas.APIOperation[Any, Any, Any, Any]) -> Callable[[], None]:
    """Sends what the schema allows for one operation, and holds the answers against it."""
    key = "admin-key" if "revocations" in operation.path else "shop-key"
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]

    @given(case=operation.as_strategy())
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def send(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=checks, headers={"authorization": f"Bearer {key}"})

    return send


async def test_every_tracking_path_is_documented_with_an_example(anybody: httpx.AsyncClient) -> None:
    schema = (await anybody.get("/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    for path in {path.rstrip("/") for path in ROUTES} - HIDDEN:
        content = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        answer = await anybody.post(path, json=content["example"], headers={"authorization": "Bearer shop-key"})
        assert answer.status_code == 200
        assert answer.json()["rejected"] == []


@pytest.mark.parametrize("method", ["post", "put"])
async def test_an_event_is_documented_with_an_example_of_each_mode(anybody: httpx.AsyncClient, method: str) -> None:
    operation = (await anybody.get("/openapi.json")).json()["paths"]["/events"][method]
    attributes = {each["name"]: each["example"] for each in operation["parameters"] if each["in"] == "header"}
    for media, content in operation["requestBody"]["content"].items():
        headers = attributes | {"content-type": media, "authorization": "Bearer shop-key"}
        answer = await anybody.request(method, "/events", json=content["example"], headers=headers)
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 1, [])


async def test_snowplows_pixel_is_documented_with_an_example(anybody: httpx.AsyncClient) -> None:
    operation = (await anybody.get("/openapi.json")).json()["paths"]["/i"]["get"]
    query = {each["name"]: each["example"] for each in operation["parameters"]}
    answer = await anybody.get("/i", params=query, headers={"authorization": "Bearer shop-key"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")


async def test_people_can_read_it(anybody: httpx.AsyncClient) -> None:
    assert (await anybody.get("/docs")).status_code == 200
