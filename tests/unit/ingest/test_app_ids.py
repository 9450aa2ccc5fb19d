"""Senders without a key: found by an app id that one source alone has."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ingest.errors import Refusal
from services.ingest.sources import Senders
from shared.keys import Source, load_sources
from tests.support.sent import AT

SENDERS = Senders(
    [
        Source(name="shop", kind="browser", write_keys=["k1"], app_ids=["app1", "app2"]),
        Source(name="till", kind="server", write_keys=["k2"]),
    ],
    lambda: AT,
)


@pytest.mark.parametrize(
    ("key", "app_id", "name"), [(None, "app1", "shop"), ("", "app2", "shop"), ("k2", "app1", "till")]
)
def test_an_app_id_counts_where_there_is_no_key(key: str | None, app_id: str, name: str) -> None:
    assert SENDERS.find(key, app_id).source.name == name


@pytest.mark.parametrize(
    ("key", "app_id", "code"),
    [
        (None, "app3", "key_unknown"),
        (None, "k1", "key_unknown"),
        ("k3", "app1", "key_unknown"),
        (None, "", "key_missing"),
        (None, 1, "key_missing"),
        (None, None, "key_missing"),
    ],
)
def test_an_unknown_app_is_refused(key: str | None, app_id: object, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        SENDERS.find(key, app_id)
    assert refused.value.code == code


def test_two_sources_with_one_app_id_are_a_mistake(tmp_path: Path) -> None:
    sources = [f"{{name: {name}, kind: server, write_keys: [{name}], app_ids: [app1]}}" for name in "ab"]
    (tmp_path / "sources.yaml").write_text(f"sources: [{', '.join(sources)}]")
    with pytest.raises(ValueError, match="a and b have the same app id 'app1'"):
        load_sources(tmp_path)
