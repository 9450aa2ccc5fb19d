"""The image holds what the services need: each part of the wheel, and what its build reads."""

from __future__ import annotations

import re
import tomllib

from tests.deploy.stack import ROOT, names_of_settings

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def copied() -> set[str]:
    """What is copied from the repository into the image."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return {name for line in lines for name in line.split()}


def let_through() -> set[str]:
    """What .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {line[1:] for line in lines if line.startswith("!")}


def test_every_package_is_copied() -> None:
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied()


def test_what_the_build_reads_is_copied() -> None:
    assert {"pyproject.toml", "uv.lock", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= copied()


def test_what_is_copied_is_there_and_nothing_else_is_let_through() -> None:
    assert copied() == let_through()
    assert all((ROOT / name).exists() for name in copied())


def test_the_entry_point_is_the_console_script() -> None:
    (script,) = PROJECT["project"]["scripts"]
    assert f'ENTRYPOINT ["{script}"]' in DOCKERFILE


def test_the_image_sets_only_settings_that_exist() -> None:
    set_ = {
        name for line in re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE) for name in re.findall(r"(\w+)=", line)
    }
    others = {"PATH", "PYTHONUNBUFFERED", "UV_COMPILE_BYTECODE", "UV_LINK_MODE", "UV_PYTHON_DOWNLOADS"}
    assert set_ - others <= names_of_settings()


def test_nobody_is_root_in_it() -> None:
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["throughline"]
    assert DOCKERFILE.index("USER throughline") < DOCKERFILE.index("ENTRYPOINT")
