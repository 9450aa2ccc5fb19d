"""Keys that end, and configurations that are read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.ingest.admins import Admins
from services.ingest.configuration import configuration
from services.ingest.errors import Refusal
from services.ingest.sources import Senders
from services.metrics.api.access import Access
from services.metrics.errors import Problem
from shared.keys import hashed, load_readers, load_sources
from shared.reloading import ReloadGauges, Reloading

END = datetime(2026, 12, 31, tzinfo=UTC)
SOURCES = """
sources:
  - name: shop
    kind: server
    rate: 5/hour
    write_keys: [new, {{key: "{old}", until: {until}}}]
"""
READERS = "readers: [{name: ops, keys: [new, {key: old, until: 2026-12-31}], scopes: [admin]}]"


def refusal(senders: Senders, key: str) -> str | None:
    try:
        senders.find(key)
    except Refusal as refused:
        return refused.code
    return None


@pytest.mark.parametrize("old", ["old", hashed("old")])
@pytest.mark.parametrize("until", ["2026-12-31T00:00:00Z", "2026-12-31", "2026-12-31 01:00:00+01:00"])
def test_a_replaced_key_is_taken_until_its_end(tmp_path: Path, old: str, until: str) -> None:
    (tmp_path / "sources.yaml").write_text(SOURCES.format(old=old, until=until))
    sources = load_sources(tmp_path)
    before, after = Senders(sources, lambda: END - timedelta(microseconds=1)), Senders(sources, lambda: END)
    assert [refusal(before, key) for key in ("new", "old")] == [None, None]
    assert [refusal(after, key) for key in ("new", "old")] == [None, "key_ended"]


def test_a_replaced_read_key_neither_asks_nor_commands_after_its_end(tmp_path: Path) -> None:
    (tmp_path / "readers.yaml").write_text(READERS)
    readers = load_readers(tmp_path)
    before, after = (lambda: END - timedelta(seconds=1)), (lambda: END)
    Access(readers, before).check("old", "admin")
    Admins(readers, before).check("old")
    Access(readers, after).check("new", "admin")
    Admins(readers, after).check("new")
    with pytest.raises(Problem, match="replaced"):
        Access(readers, after).check("old", "admin")
    with pytest.raises(Refusal):
        Admins(readers, after).check("old")


def test_an_end_that_is_no_time_is_said(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(SOURCES.format(old="old", until="soon"))
    with pytest.raises(ValueError, match=r"write_keys\.1.*until"):
        load_sources(tmp_path)


def test_what_a_source_has_used_of_its_rate_survives_unless_the_rate_changes(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(SOURCES.format(old="old", until="2026-12-31"))
    sources = load_sources(tmp_path)
    first = configuration(sources, [], lambda: END)
    bucket = first.senders.find("new").bucket
    assert bucket is not None
    assert configuration(sources, [], lambda: END, first).senders.find("new").bucket is bucket
    faster = [sources[0].model_copy(update={"rate": "50/hour"})]
    assert configuration(faster, [], lambda: END, first).senders.find("new").bucket is not bucket


def told(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("throughline_config_reload_success")


async def test_only_what_changed_is_read_again_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(SOURCES.format(old="old", until="2026-12-31"))
    registry, used = CollectorRegistry(), list[str]()
    names = lambda: [one.name for one in load_sources(tmp_path)]  # noqa: E731
    reloading = Reloading(tmp_path, names, used.extend, ReloadGauges(registry))
    await reloading.look()
    assert (used, told(registry)) == ([], 1)
    file.write_text("sources: [{name: shop}]")
    await reloading.look()
    assert (used, told(registry)) == ([], 0)
    file.write_text(SOURCES.format(old="old", until="2027-12-31"))
    await reloading.look()
    assert (used, told(registry)) == (["shop"], 1)
    reloading.wake()
    await reloading.look()
    assert used == ["shop", "shop"]
