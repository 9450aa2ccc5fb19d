"""Each acquisition can be explained: the rule that held, what it was read from, and the kind of site."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from services.ingest.channel import GROUPS, classify, explain
from throughline.cli import app

SITE = "https://shop.example/"


@pytest.mark.parametrize(
    ("context", "acquisition", "told_by", "kind"),
    [
        ({"campaign": {"source": "google", "medium": "cpm"}}, "Paid Search", "context.campaign", "search"),
        ({"campaign": {"source": "unknown", "medium": "cpm"}}, "Display", "context.campaign", None),
        ({"campaign": {"medium": "cpc", "name": "eshop-spring"}}, "Paid Shopping", "context.campaign", None),
        ({"campaign": {"medium": "cpc", "name": "workshop"}}, "Paid Other", "context.campaign", None),
        ({"page": {"url": f"{SITE}?utm_source=qr", "referrer": ""}}, "Unassigned", "utm_ parameters", None),
        ({"page": {"url": f"{SITE}?gclid=1", "referrer": ""}}, "Paid Search", "click id gclid", "search"),
        ({"page": {"url": SITE, "referrer": "https://claude.ai/"}}, "AI Assistants", "referrer", "assistant"),
        ({"page": {"url": SITE, "referrer": ""}}, "Direct", "no referrer", None),
    ],
)
def test_it_is_what_was_classified_and_says_why(
    context: dict[str, Any], acquisition: str, told_by: str, kind: str | None
) -> None:
    found = explain("page", context, {})
    assert found is not None
    assert (found.acquisition, found.told_by, found.kind) == (acquisition, told_by, kind)
    assert classify("page", context, {}, None)[1] == acquisition
    assert GROUPS[found.place - 1][:2] == (acquisition, found.rule)


def test_a_step_within_the_site_has_no_explanation() -> None:
    assert explain("page", {"page": {"url": SITE, "referrer": f"{SITE}cart"}}, {}) is None


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["acquisition", *arguments])
    return done.exit_code, done.output


def test_the_command_tells_people() -> None:
    code, said = run("--url", f"{SITE}?utm_source=google&utm_medium=cpm&utm_campaign=spring")
    assert code == 0
    assert said.splitlines() == [
        "Paid Search",
        "  rule 4: a paid medium, and the source is a search engine",
        "  utm_ parameters: source google (a search engine), medium cpm, campaign spring",
    ]


def test_the_command_lists_the_rules_in_order_and_says_when_nothing_is_known() -> None:
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in run("--rules")[1].splitlines()] == [
        g[0] for g in GROUPS
    ]
    assert run()[0] == 1
