"""Commands over HTTP: who may give them, what is refused, and that they are on the log when they are answered."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from shared.touchpoint import TOUCHPOINTS, Command, Revocation, Withdrawal
from tests.integration.ingest.conftest import Written, fresh

ADMIN = {"authorization": "Bearer admin-key"}


async def command(written: Written, id_: str, kind: type[Command]) -> Command:
    """The command of this id on the log."""
    found = [msgspec.json.decode(one.value, type=Command) for one in await written.records(TOUCHPOINTS)
             if b'"command":' in one.value and id_.encode() in one.value]  # fmt: skip
    [wanted] = [one for one in found if isinstance(one, kind)]
    return wanted


async def test_a_link_is_revoked_and_the_revocation_withdrawn(anybody: httpx.AsyncClient, written: Written) -> None:
    asked = {"lower": f"email:{fresh('A')}@b.c ", "higher": "user_id:u1", "reason": "a shared tablet"}
    answer = await anybody.post("/v1/revocations", json=asked, headers=ADMIN)
    assert answer.status_code == 202
    id_ = answer.json()["id"]
    revoked = await command(written, id_, Revocation)
    assert isinstance(revoked, Revocation)
    assert (revoked.lower, revoked.higher) == (asked["lower"].strip().lower(), "user_id:u1")
    withdrawn = await anybody.post(f"/v1/revocations/{id_}/withdraw", headers=ADMIN)
    assert (withdrawn.status_code, withdrawn.json()) == (202, {"id": id_})
    assert (await command(written, id_, Withdrawal)).id == id_


async def test_an_alias_is_revoked(anybody: httpx.AsyncClient, written: Written) -> None:
    answer = await anybody.post("/v1/revocations", json={"alias": ["u2", "u1"]}, headers=ADMIN)
    revoked = await command(written, answer.json()["id"], Revocation)
    assert isinstance(revoked, Revocation)
    assert revoked.alias == ("u2", "u1")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "key_missing"),
        ({"authorization": "Bearer unknown"}, 401, "key_unknown"),
        ({"authorization": "Bearer shop-key"}, 401, "key_unknown"),
        ({"authorization": "Bearer metrics-key"}, 403, "scope_missing"),
    ],
)
async def test_only_admins_command(anybody: httpx.AsyncClient, headers: dict[str, str], status: int, code: str) -> None:
    for path in ("/v1/revocations", "/v1/revocations/6aee2a7e-9871-4a73-92eb-6f91cf681772/withdraw"):
        answer = await anybody.post(path, json={"alias": ["u1", "u2"]}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "asked",
    [{}, {"lower": "email:a@b.c"}, {"lower": "user_id:a", "higher": "email:b"}, {"alias": ["u1"]},
     {"alias": ["u1", "u1"]},
     {"lower": "email:null", "higher": "user_id:u1"}, {"alias": ["u1", "u2"], "more": 1}, {"alias": ["u1", 2]}, []],
)  # fmt: skip
async def test_what_can_be_no_revocation_is_refused(anybody: httpx.AsyncClient, asked: Any) -> None:
    answer = await anybody.post("/v1/revocations", json=asked, headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (422, "value_invalid")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_can_be_no_id_is_not_found(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post("/v1/revocations/7/withdraw", headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_body_that_is_no_json_is_refused(anybody: httpx.AsyncClient) -> None:
    headers = {**ADMIN, "content-type": "application/json"}
    answer = await anybody.post("/v1/revocations", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_not_json")
