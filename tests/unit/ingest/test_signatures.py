"""Signatures of webhooks: what each product signs, and that nothing else will do."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.ingest.signatures import SCHEMES, check, signature_of
from tests.support.calls import Asked

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
URL = "https://ingest.example/v1/hooks/s"
BODY = b'{"id": "evt_1"}'
FORM = b"To=%2B491&From=%2B492&Body=a+b"


def mac(message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(b"secret", message, algorithm).digest()


def base64(message: bytes, algorithm: str = "sha256") -> str:
    return b64encode(mac(message, algorithm)).decode()


SIGNED: dict[str, tuple[bytes, dict[str, str]]] = {
    "stripe": (
        BODY,
        {"Stripe-Signature": f"t={SECONDS},v1={mac(SECONDS.encode() + b'.' + BODY).hex()},v0=abc"},
    ),
    "shopify": (BODY, {"X-Shopify-Hmac-Sha256": base64(BODY)}),
    "github": (BODY, {"X-Hub-Signature-256": "sha256=" + mac(BODY).hex()}),
    "twilio": (FORM, {"X-Twilio-Signature": base64(f"{URL}Bodya bFrom+492To+491".encode(), "sha1")}),
    "hubspot": (
        BODY,
        {
            "X-HubSpot-Signature-v3": base64(f"POST{URL}".encode() + BODY + f"{SECONDS}000".encode()),
            "X-HubSpot-Request-Timestamp": f"{SECONDS}000",
        },
    ),
    "zendesk": (
        BODY,
        {
            "X-Zendesk-Webhook-Signature": base64(b"2026-11-23T10:00:00Z" + BODY),
            "X-Zendesk-Webhook-Signature-Timestamp": "2026-11-23T10:00:00Z",
        },
    ),
    "typeform": (BODY, {"Typeform-Signature": "sha256=" + base64(BODY)}),
    "intercom": (BODY, {"X-Hub-Signature": "sha1=" + mac(BODY, "sha1").hex()}),
    "lob": (
        BODY,
        {"Lob-Signature": mac(f"{SECONDS}.".encode() + BODY).hex(), "Lob-Signature-Timestamp": SECONDS},
    ),
    "aftership": (BODY, {"AfterShip-Hmac-Sha256": base64(BODY)}),
}


def wrong(given: dict[str, Any], body: bytes, headers: dict[str, str], now: datetime = NOW) -> str | None:
    """What is wrong with a request, if anything."""
    sent = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return check(signature_of(given, {}), Asked("POST", "/v1/hooks/s", {}, sent, body), now)


def scheme(name: str, **more: Any) -> dict[str, Any]:
    return {"scheme": name, "secret": "secret", "url": URL, **more}


every = pytest.mark.parametrize("name", SIGNED)


def test_every_scheme_is_tested() -> None:
    assert {"hmac", *SIGNED} == set(SCHEMES)


@every
def test_what_the_product_signed_is_right(name: str) -> None:
    assert wrong(scheme(name), *SIGNED[name]) is None


@every
def test_another_secret_or_body_or_no_header_is_wrong(name: str) -> None:
    body, headers = SIGNED[name]
    assert wrong(scheme(name, secret="other"), body, headers) is not None
    assert wrong(scheme(name), body + b"&x=1", headers) is not None
    assert wrong(scheme(name), body, {}) == f"the header {SCHEMES[name]['header']} is missing"
    assert wrong(scheme(name), body, {**headers, SCHEMES[name]["header"]: "é"}) is not None


@every
def test_either_of_two_secrets_will_do_while_one_replaces_the_other(name: str) -> None:
    assert wrong(scheme(name, secret=["new", "secret"]), *SIGNED[name]) is None


@pytest.mark.parametrize("name", ["stripe", "hubspot", "lob"])
@pytest.mark.parametrize(("late", "is_right"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_what_was_signed_long_ago_may_be_a_replay(name: str, late: int, is_right: bool) -> None:
    assert (wrong(scheme(name), *SIGNED[name], now=NOW + timedelta(seconds=late)) is None) is is_right


@pytest.mark.parametrize("name", ["hubspot", "lob"])
@pytest.mark.parametrize("stamp", ["", "x", "9" * 30, "1e3", "0000-00-00", "²"])
def test_a_time_of_signing_that_is_none_is_wrong(name: str, stamp: str) -> None:
    body, headers = SIGNED[name]
    sent = {**headers, SCHEMES[name]["stamp"]: stamp}
    assert wrong(scheme(name), body, sent) == "it was signed more than 300 seconds ago, or ahead"


def test_the_examples_that_github_and_twilio_publish() -> None:
    known = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    given = {"scheme": "github", "secret": "It's a Secret to Everybody"}
    assert wrong(given, b"Hello, World!", {"X-Hub-Signature-256": f"sha256={known}"}) is None
    form = b"CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212"
    given = {"scheme": "twilio", "secret": "12345", "url": "https://mycompany.com/myapp.php?foo=1&bar=2"}
    assert wrong(given, form, {"X-Twilio-Signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ="}) is None


def test_anything_else_is_said_in_the_configuration() -> None:
    given = {
        "header": "X-Sign", "algorithm": "sha512", "prefix": "v0=", "stamp": "X-At", "tolerance": "10m",
        "signs": ["v0:", "stamp", ":", "body"], "secret": "secret",
    }  # fmt: skip
    signature = "v0=" + hmac.new(b"secret", b"v0:" + SECONDS.encode() + b":" + BODY, hashlib.sha512).hexdigest()
    assert wrong(given, BODY, {"X-Sign": signature, "X-At": SECONDS}) is None
    assert wrong(given, BODY, {"X-Sign": signature.removeprefix("v0="), "X-At": SECONDS}) is not None


def test_secrets_come_from_the_environment_by_name() -> None:
    given = {"scheme": "shopify", "secret_env": ["NEW", "OLD"]}
    assert signature_of(given, {"NEW": "a", "OLD": "b"}).secrets == ("a", "b")
    assert "secret" not in repr(signature_of(scheme("shopify"), {})).replace("secrets", "")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"scheme": "other"}, "there is no scheme 'other'; there are hmac, stripe"),
        ({"scheme": "stripe"}, "secret_env has to name the environment variable"),
        ({"scheme": "stripe", "secret_env": "A"}, "the environment has no A"),
        ({"scheme": "twilio", "secret": "s"}, "twilio signs the address that it posts to"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        signature_of(given, {})


@pytest.mark.parametrize("given", [{"heather": "x"}, {"header": "x", "algorithm": "md5"}, {"header": "", "signs": []}])
def test_unknown_and_impossible_members_are_mistakes(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        signature_of({"secret": "s", **given}, {})
