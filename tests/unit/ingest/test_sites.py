"""Sites are known by name, host and country; the vendored list is renewed from a release of its package."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path

import pytest

from services.ingest.sites import REFERRERS, kind_of, listed, published
from services.ingest.sites.update import LICENCE, by_kind, read, write


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("google", "search"), ("www.google.co.uk", "search"), ("google.de", "search"), ("search.brave.com", "search"),
        ("mail.google.com", "other"), ("docs.google.com", "other"), ("news.ycombinator.com", "social"),
        ("gemini.google.com", "assistant"), ("www.youtube.com", "video"), ("m.facebook.com", "social"),
        ("amazon.co.uk", "shopping"), ("google.evil.example", None), ("some.blog", None), ("", None), (".", None),
        ("a." * 200 + "google.de", None),
    ],
)  # fmt: skip
def test_the_kind_of_a_site(source: str, kind: str | None) -> None:
    assert kind_of(source) == kind


def test_no_name_is_of_two_kinds() -> None:
    names = [published.ASSISTANTS, published.SEARCH, published.SHOPPING, published.SOCIAL, published.VIDEO]
    assert sum(map(len, names)) == len(frozenset().union(*names))


def test_the_list_is_there_at_once_and_has_its_licence() -> None:
    start = time.process_time()
    hosts = listed()
    assert time.process_time() - start < 0.02
    assert len(hosts) > 500
    assert "MIT License" in LICENCE.read_text()


def test_a_renewal_keeps_hosts_once_without_pages_and_what_their_parent_says() -> None:
    entries = {
        "www.find.example": {"medium": "search"}, "find.example/images": {"medium": "search"},
        "m.find.example": {"medium": "search"}, "mail.find.example": {"medium": "email"},
        "Friends.example": {"medium": "social"}, "ads.example": {"medium": "paid"},
    }  # fmt: skip
    kinds = by_kind(entries)
    assert kinds == {"search": ["find.example"], "other": ["mail.find.example"], "social": ["friends.example"]}


def test_a_release_becomes_the_list_and_its_licence(tmp_path: Path) -> None:
    files = {
        "package.json": json.dumps({"version": "9.9.9"}),
        "lib/referrers.json": json.dumps({"find.example": {"medium": "search"}}),
        "LICENSE": "MIT License",
    }
    release = tmp_path / "package.tgz"
    with tarfile.open(release, "w:gz") as opened:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            opened.addfile(member, io.BytesIO(text.encode()))
    referrers, licence = read(release)
    write(referrers, licence, tmp_path / "list.json", tmp_path / "LICENSE")
    assert listed(tmp_path / "list.json") == {"find.example": "search"}
    assert json.loads((tmp_path / "list.json").read_text())["version"] == "9.9.9"
    assert (tmp_path / "LICENSE").read_text() == "MIT License"


def test_the_vendored_list_is_one_that_the_update_wrote(tmp_path: Path) -> None:
    plain = json.loads(REFERRERS.read_text())
    assert REFERRERS.read_text() == json.dumps(plain, indent=0, sort_keys=True) + "\n"
