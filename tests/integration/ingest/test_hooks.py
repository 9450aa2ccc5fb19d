"""Webhooks through HTTP: signed, with a key, or refused; and what the log then has."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import pytest

from tests.integration.ingest.conftest import Written, basic, fresh


def paid(id_: str) -> bytes:
    session = {"id": "cs_1", "object": "checkout.session", "amount_total": 12995, "currency": "eur",
               "client_reference_id": "u1", "payment_status": "paid"}  # fmt: skip
    event = {"id": id_, "type": "checkout.session.completed", "created": int(time.time()), "data": {"object": session}}
    return json.dumps(event).encode()


def signed(body: bytes, secret: str = "whsec_test", at: int | None = None) -> dict[str, str]:
    stamp = str(int(time.time()) if at is None else at)
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={stamp},v1={digest},v0=0", "content-type": "application/json; charset=utf-8"}


async def test_a_signed_webhook_needs_no_key(anybody: httpx.AsyncClient, written: Written) -> None:
    body = paid(id_ := fresh())
    for path in ("/v1/hooks/stripe", "/v1/hooks/stripe/"):
        answer = await anybody.post(path, content=body, headers=signed(body))
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    first, again = await written.touchpoints(id_)
    assert (first.source, first.event, first.channel, first.ids) == (
        "stripe", "Order Completed", "web", {"user_id": "u1"},
    )  # fmt: skip
    assert first.properties["revenue"] == 129.95
    assert again.id == first.id


@pytest.mark.parametrize("headers", [{}, {"secret": "other"}, {"at": 1_700_000_000}])
async def test_a_wrong_signature_is_refused(anybody: httpx.AsyncClient, headers: dict[str, Any]) -> None:
    body = paid(fresh())
    sent = signed(body, **headers) if headers else {}
    answer = await anybody.post("/v1/hooks/stripe", content=body, headers={**sent, **basic("shop-key")})
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({}, {"writeKey": "hook-key"}, 200, None),
        (basic("hook-key"), {}, 200, None),
        ({}, {}, 401, "key_missing"),
        (basic("till-key"), {}, 401, "key_unknown"),
    ],
)
async def test_an_unsigned_webhook_needs_the_key_of_its_own_source(
    anybody: httpx.AsyncClient, headers: dict[str, str], query: dict[str, str], status: int, code: str | None
) -> None:
    sale = {"receipt": fresh(), "store": "Bonn", "total": 1, "customer": {"card": "c1"}}
    answer = await anybody.post("/v1/hooks/till-hook", json=sale, headers=headers, params=query)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


async def test_what_no_event_is_for_is_answered_with_200_and_kept(anybody: httpx.AsyncClient, written: Written) -> None:
    answer = await anybody.post("/v1/hooks/till-hook?writeKey=hook-key", json={"note": fresh()})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)
    [rejected] = answer.json()["rejected"]
    assert rejected["reason"] == "unmapped"
    [letter] = await written.letters(rejected["id"])
    assert (letter.source, letter.reason) == ("till-hook", "unmapped")


async def test_a_source_without_a_hook_has_no_such_path(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.post("/v1/hooks/shop?writeKey=shop-key", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await anybody.get("/v1/hooks/till-hook")).status_code == 405


async def test_the_documented_example_is_taken(anybody: httpx.AsyncClient) -> None:
    [path] = [path for path in (await anybody.get("/openapi.json")).json()["paths"].items() if "hooks" in path[0]]
    example = path[1]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = await anybody.post("/v1/hooks/till-hook?writeKey=hook-key", json=example)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
