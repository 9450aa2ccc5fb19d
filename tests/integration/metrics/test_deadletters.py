"""Dead letters over HTTP: who may look, what is shown, in pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.metrics.seed import Seed

INSERT = """
    insert into dead_letters (at, topic, partition, "offset", source, reason, message, data, received_at, redriven_at,
        outcome)
    values ($1, 'touchpoints.rejected', 0, $1, $2, $3, 'why', '{"userId":"jo"}', $1, $4, $5)
"""
SECOND = 1_000_000


@pytest.fixture(autouse=True)
async def three(seed: Seed) -> None:
    for second, source, reason, redriven, outcome in [
        (1, "site", "time_invalid", None, None), (2, "till", "time_invalid", 9, "accepted"),
        (3, "site", "too_deep", 9, "too_deep"),
    ]:  # fmt: skip
        await seed.connection.execute(INSERT, second * SECOND, source, reason, redriven, outcome)


async def listed(api: httpx.AsyncClient, **asked: Any) -> list[str]:
    answer = await api.get("/v1/deadletters", params=asked)
    assert answer.status_code == 200, answer.text
    return [one["at"][-3:-1] for one in answer.json()["data"]]


async def test_the_newest_stands_first_without_what_it_holds(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/deadletters")
    assert [one["reason"] for one in answer.json()["data"]] == ["too_deep", "time_invalid", "time_invalid"]
    assert answer.json()["data"][1] | {"id": 0} == {
        "id": 0, "at": "1970-01-01T00:00:02Z", "received_at": "1970-01-01T00:00:02Z", "source": "till",
        "reason": "time_invalid", "message": "why", "topic": "touchpoints.rejected", "partition": 0,
        "offset": 2 * SECOND, "bytes": 15, "sealed": False, "redriven_at": "1970-01-01T00:00:00.000009Z",
        "outcome": "accepted",
    }  # fmt: skip
    assert "jo" not in answer.text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"source": "site"}, ["03", "01"]), ({"reason": "time_invalid"}, ["02", "01"]), ({"redriven": False}, ["01"]),
        ({"source": "site", "redriven": True}, ["03"]), ({"source": "nobody"}, []),
    ],
)  # fmt: skip
async def test_letters_are_filtered(api: httpx.AsyncClient, asked: dict[str, Any], found: list[str]) -> None:
    assert await listed(api, **asked) == found


async def test_letters_come_in_pages(api: httpx.AsyncClient) -> None:
    first = (await api.get("/v1/deadletters?limit=2")).json()
    second = (await api.get("/v1/deadletters", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [one["source"] for one in first["data"] + second["data"]] == ["site", "till", "site"]
    assert second["next_cursor"] is None


async def test_only_admins_look_and_what_is_unknown_is_refused(api: httpx.AsyncClient) -> None:
    for key, status in (("metrics-key", 403), ("profiles-key", 403), ("nobody", 401)):
        answer = await api.get("/v1/deadletters", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status
    for wrong in ("since=1", "from=soon", "cursor=x", "limit=0"):
        assert (await api.get(f"/v1/deadletters?{wrong}")).status_code == 422
