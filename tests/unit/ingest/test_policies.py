"""Policies as the configuration has them: bad ones are refused at the start, in a sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from services.ingest.plan import BadPlan, compile_plan
from services.ingest.policies import load_plan, load_policy
from shared.keys import Privacy, Source, TrackingPlan, load_sources

FILE = Path("plans/shop.yaml")
DOCS = Path(__file__).parents[3] / "docs"


def source(**terms: Any) -> Source:
    return Source(**{"name": "shop", "kind": "server", "write_keys": ["key"], **terms})


def test_to_hash_a_key_is_needed(tmp_path: Path) -> None:
    hashing = source(privacy=Privacy(hash=["traits.email"]))
    with pytest.raises(ValueError, match="shop hashes fields: set THROUGHLINE_HASH_KEY"):
        load_policy(hashing, tmp_path, None)
    assert load_policy(hashing, tmp_path, "0123456789abcdef").cover.has_rules


def test_a_plan_is_read_from_yaml_and_json(tmp_path: Path) -> None:
    planned = source(plan=TrackingPlan(file=FILE))
    (tmp_path / "plans").mkdir()
    for text in ("events: {Signed Up: {required: [plan]}}", '{"events": {"Signed Up": {"required": ["plan"]}}}'):
        (tmp_path / FILE).write_text(text)
        plan = load_policy(planned, tmp_path, None).plan
        assert plan is not None
        assert plan.is_planned("track", "Signed Up")
        assert not plan.is_planned("track", "Signed up")


def test_a_plan_that_is_not_there_or_no_yaml_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"plan\.yaml is missing"):
        load_plan(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text("events: [")
    with pytest.raises(ValueError, match="not YAML"):
        load_plan(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text("7")
    with pytest.raises(ValueError, match=r"plan\.yaml: a tracking plan has"):
        load_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "a tracking plan has `events`"), ({"tracks": {}}, "a tracking plan has `events`"),
        ({"events": []}, "`events` maps"), ({"events": {"A": "x"}}, "the schema of A is none"),
        ({"events": {"A": {"type": "objekt"}}}, "the schema of A is none"),
        ({"identify": {"$ref": "https://schemas.example/a.json"}}, "whole"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused_in_a_sentence(document: Any, why: str) -> None:
    with pytest.raises(BadPlan, match=why):
        compile_plan(document)


@pytest.mark.parametrize("path", ["email", "ids", "ids.", "traits", "traits.", "userId", "properties..x"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="is no path; write for example"):
        Privacy(drop=[path])


def examples(page: str) -> list[str]:
    """The YAML that a page of the documentation shows."""
    return re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_what_the_documentation_shows_can_be_used(tmp_path: Path) -> None:
    [sources] = examples("privacy.md")
    (tmp_path / "sources.yaml").write_text(sources)
    [documented] = load_sources(tmp_path)
    assert load_policy(documented, tmp_path, "0123456789abcdef").has_terms
    _, plan = examples("tracking-plan.md")
    assert compile_plan(yaml.safe_load(plan)).is_planned("track", "Order Completed")
