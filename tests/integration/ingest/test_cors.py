"""Pages of other origins: preflights, mirrored origins, readable waits, and sources with origins of their own."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.ingest.conftest import Written, basic, track

PAGE = {"origin": "https://page.example"}
ANSWERED = ["/v1/track", "/v1/b", "/v1/projects/shop-key/settings", "/v1/m", "/anything"]


@pytest.mark.parametrize("path", ANSWERED)
async def test_every_preflight_is_answered_without_a_key(anybody: httpx.AsyncClient, path: str) -> None:
    asked = {**PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization,x-new"}
    answer = await anybody.options(path, headers=asked)
    assert answer.status_code == 200
    assert {name: value for name, value in answer.headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": "https://page.example",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Retry-After",
        "access-control-allow-methods": "GET,POST,PUT,OPTIONS",
        "access-control-allow-headers": "authorization,x-new",
        "access-control-max-age": "86400",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/track", 200),
        ("POST", "/v1/batch", 400),
        ("GET", "/v1/track", 405),
        ("POST", "/nowhere", 404),
        ("GET", "/v1/projects/shop-key/settings", 200),
        ("GET", "/v1/projects/unknown/settings", 401),
        ("POST", "/v1/revocations", 401),
    ],
)
async def test_every_answer_can_be_read_by_the_page_errors_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    auth = None if "revocations" in path else client.auth
    answer = await client.request(method, path, json=track() if method == "POST" else None, headers=PAGE, auth=auth)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    assert "Origin" in answer.headers["vary"]


async def test_who_is_no_page_gets_no_cors_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/track", json=track())
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_source_with_origins_takes_from_those_pages_only(anybody: httpx.AsyncClient, written: Written) -> None:
    own, other, server = track(), track(), track()
    key = basic("own-key")
    taken = await anybody.post("/v1/track", json=own, headers={**key, "origin": "https://own.example"})
    refused = await anybody.post("/v1/track", json=other, headers={**key, **PAGE})
    no_page = await anybody.post("/v1/track", json=server, headers=key)
    assert (taken.status_code, refused.status_code, no_page.status_code) == (200, 403, 200)
    assert refused.json()["code"] == "origin_forbidden"
    found = await written.touchpoints(own["messageId"], other["messageId"], server["messageId"])
    assert [one.id for one in found] == [own["messageId"], server["messageId"]]


async def test_sdks_learn_where_to_send(anybody: httpx.AsyncClient) -> None:
    for path in ("/v1/projects/shop-key/settings", "/projects/shop-key/settings"):
        answer = await anybody.get(path)
        segment = answer.json()["integrations"]["Segment.io"]
        assert segment == {
            "apiKey": "shop-key", "apiHost": f"{anybody.base_url.host}:{anybody.base_url.port}/v1", "protocol": "http",
        }  # fmt: skip
        assert answer.json()["metrics"] == {"sampleRate": 0}


async def test_the_telemetry_of_sdks_is_swallowed(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post("/v1/m", content=b'{"series":[]}', headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
