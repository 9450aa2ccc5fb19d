"""`throughline hooks`: what is wrong with a mapping, and what a body becomes, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from throughline.cli import app

SOURCES = """
sources:
  - {name: shop, kind: browser, write_keys: [a]}
  - {name: tills, kind: server, write_keys: [b], hook: {use: pos, properties: {cashier: cashier}}}
  - {name: billing, kind: server, hook: {use: stripe, signature: {secret_env: BILLING}}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.yaml").write_text(SOURCES)
    monkeypatch.setenv("THROUGHLINE_CONFIG", str(tmp_path))
    return tmp_path


def hooks(*arguments: str, body: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["hooks", *arguments], input=body)


def test_check_says_what_is_wrong(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = hooks("check")
    assert missing.exit_code == 1
    assert "the hook of source billing: signature: the environment has no BILLING" in missing.output
    monkeypatch.setenv("BILLING", "s")
    assert hooks("check").output.splitlines() == ["tills: /v1/hooks/tills", "billing: /v1/hooks/billing"]


def test_try_shows_touchpoints_and_reasons(config: Path) -> None:
    body = json.dumps([{"receipt": 1, "total": 2, "cashier": "Ada", "customer": {"card": "c"}}, {}]).encode()
    result = hooks("try", "tills", "-", body=body)
    sold, rejected = (json.loads(line) for line in result.output.splitlines())
    assert (sold["event"], sold["source"], sold["properties"]["cashier"]) == ("Order Completed", "tills", "Ada")
    assert rejected["reason"] == "unmapped"
    assert result.exit_code == 1


def test_try_takes_ready_mappings_headers_and_forms(config: Path) -> None:
    order = config / "order.json"
    order.write_text('{"id": 1, "email": "jo@example.com", "total_price": "1.50"}')
    result = hooks("try", "shopify", str(order), "--header", "X-Shopify-Topic: orders/create")
    assert (result.exit_code, json.loads(result.output)["properties"]["revenue"]) == (0, 1.5)
    result = hooks("try", "twilio", "-", "--form", body=b"MessageSid=SM1&SmsStatus=received&From=%2B49170")
    assert (result.exit_code, json.loads(result.output)["ids"]) == (0, {"phone": "+49170"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing", "-"), "there is no mapping 'nothing'"),
        (("pos", "none.json"), "No such file"),
        (("pos", "-"), "the body is not JSON"),
    ],
)
def test_try_says_what_is_wrong(config: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = hooks("try", *arguments, body=b"x")
    assert result.exit_code == 1
    assert sentence in result.output
