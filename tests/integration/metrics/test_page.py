"""The journey map page: whole, self-contained, and no way in for what others wrote."""

from __future__ import annotations

import re

import httpx
import pytest


@pytest.fixture
async def files(api: httpx.AsyncClient) -> dict[str, str]:
    del api.headers["authorization"]
    answers = {path: await api.get(path) for path in ("/", "/page.css", "/page.js")}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {path: answer.text for path, answer in answers.items()}


async def test_is_served_with_its_parts_to_anybody(files: dict[str, str]) -> None:
    asked_for = set(re.findall(r'(?:src|href)="((?!data:)[^"]+)"', files["/"]))
    assert asked_for == {"page.css", "page.js", "/docs"}


async def test_needs_nothing_from_elsewhere(files: dict[str, str]) -> None:
    for text in files.values():
        assert not re.findall(r"https?://|//cdn", text)


async def test_finds_every_element_that_it_fills(files: dict[str, str]) -> None:
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', files["/page.js"]))
    there = set(re.findall(r' id="([a-z-]+)"', files["/"]))
    assert wanted - there == {"age"}


async def test_never_reads_text_as_markup(files: dict[str, str]) -> None:
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", files["/page.js"])


async def test_runs_only_its_own_scripts(api: httpx.AsyncClient) -> None:
    headers = (await api.get("/")).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
