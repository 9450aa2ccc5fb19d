"""The ready maps are right, and none of them is live until somebody copies it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.journey_map import load_maps, parse_map
from tests.deploy.stack import ROOT

LIBRARY = sorted((ROOT / "deploy" / "maps-library").glob("*.yaml"))
STAGES = {
    "current-state": ["awareness", "engagement", "evaluation", "purchase", "post-purchase"],
    "classic": ["awareness", "consideration", "purchase", "retention", "advocacy"],
    "e-commerce": ["awareness", "consideration", "decision", "loyalty"],
    "digital": ["awareness", "engagement", "fulfilment", "retention"],
    "new-retail": ["cognition", "arrival", "preparation", "purchase", "experience", "logistics", "after-sales"],
    "service": ["pre-sale", "in-sale", "after-sale", "repurchase", "referral"],
    "buyer-lifecycle": ["impression", "acquisition", "conversion", "loyalty", "advocacy"],
    "neutral": ["early", "middle", "late"],
}


def test_every_stage_model_is_there() -> None:
    assert {file.stem for file in LIBRARY} == STAGES.keys()


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.stem)
def test_a_ready_map_is_right(file: Path) -> None:
    parsed = parse_map(file.read_text(encoding="utf-8"), str(file))
    assert parsed.map == file.stem
    assert [stage.name for stage in parsed.stages] == STAGES[file.stem]
    assert parsed.goal
    assert parsed.moments
    assert parsed.experience


def test_only_the_shop_is_live() -> None:
    assert [one.map for one in load_maps(ROOT / "deploy" / "config")] == ["shop"]
