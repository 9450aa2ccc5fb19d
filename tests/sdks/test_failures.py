"""When ingest is away, a rate is used up, answers get lost, or what was sent cannot be used: each SDK delivers as far
as it tries again, nothing is there twice, and nobody sends for ever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from shared.touchpoint import Touchpoint
from tests.integration.ingest.conftest import Service
from tests.sdks.clients import JITSU_KEY, OF_POSTHOG, Client
from tests.sdks.conftest import Ended, configured, number_of, of_user, start, when_there
from tests.sdks.pages import Pages
from tests.sdks.proxy import Deed, between
from tests.sdks.story import Call, few, visit
from throughline.ports import free_port

pytestmark = pytest.mark.timeout(400)  # all clients run in the fixture of the first test
TROUBLE: list[Deed] = ["busy", "away", "lost"]
SPOILT: list[Deed] = ["broken", "keyless", "huge"]
AGAIN = {
    "flushes": 4,
    "pause": 300,
}  # Snowplow's trackers try again when they are told to send, or the next event comes
NO_IDENTIFY = frozenset(("identify",))

# Each tries again but Jitsu's, which lose what was not taken.
IN_TROUBLE = [
    Client("segment-python", "python.segment_python"),
    Client("segment-node", "node/segment_node.mjs"),
    Client("rudder-python", "python.rudder_python"),
    Client("rudder-node", "node/rudder_node.mjs"),
    Client("posthog-python", "python.posthog_python"),
    Client("posthog-node", "node/posthog_node.mjs", {"fetchRetryDelay": 200}),
    Client("snowplow-python", "python.snowplow_python", lacks=NO_IDENTIFY),
    Client("snowplow-node", "node/snowplow_node.mjs", lacks=NO_IDENTIFY, more=AGAIN),
    Client("jitsu-node", "node/jitsu_node.mjs", key=JITSU_KEY),
]
PAGES_IN_TROUBLE = [
    Client("segment-js", "segment"),
    Client("rudder-js", "rudder"),
    Client("posthog-js", "posthog", OF_POSTHOG),
    Client("snowplow-js", "snowplow", lacks=NO_IDENTIFY, more=AGAIN),
    Client("jitsu-js", "jitsu", key=JITSU_KEY, more={"pause": 300}),
]
REFUSED = [
    Client("segment-python.r", "python.segment_python", {"upload_size": 1}),
    Client("segment-node.r", "node/segment_node.mjs", {"flushAt": 1}, more={"pause": 300}),
    Client("rudder-python.r", "python.rudder_python", {"upload_size": 1}),
    Client("rudder-node.r", "node/rudder_node.mjs", {"flushAt": 1}, more={"handled": True, "pause": 300}),
    Client("posthog-python.r", "python.posthog_python", {"flush_at": 1}),
    Client("posthog-node.r", "node/posthog_node.mjs", {"flushAt": 1, "fetchRetryDelay": 100}, more={"pause": 300}),
    Client("snowplow-python.r", "python.snowplow_python", {"batch_size": 1}, lacks=NO_IDENTIFY),
    Client("snowplow-node.r", "node/snowplow_node.mjs", lacks=NO_IDENTIFY, more=AGAIN),
    Client("jitsu-node.r", "node/jitsu_node.mjs", key=JITSU_KEY),
]
PAGES_REFUSED = [
    Client("segment-js.r", "segment", more={"pause": 300}),
    Client("rudder-js.r", "rudder", more={"pause": 300}),
    Client("posthog-js.r", "posthog", OF_POSTHOG, more={"pause": 1000}),
    Client("snowplow-js.r", "snowplow", lacks=NO_IDENTIFY, more=AGAIN),
    Client("jitsu-js.r", "jitsu", key=JITSU_KEY, more={"pause": 300}),
]
PROGRAMS = [*IN_TROUBLE, *REFUSED]
PAGES = [*PAGES_IN_TROUBLE, *PAGES_REFUSED]
CLIENTS = [*PROGRAMS, *PAGES]


@dataclass(frozen=True)
class Came:
    """What came of a client's troubles: how it ended, what was answered to it, what is on the log."""

    ended: Ended
    statuses: list[int]
    touchpoints: list[Touchpoint]

    @property
    def numbers(self) -> list[int | None]:
        return sorted((number_of(one) for one in self.touchpoints), key=lambda number: number or 0)


def calls_of(client: Client) -> list[Call]:
    return few(client.name, 5) if "identify" in client.lacks else visit(client.name, 5)


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Ingest whose log cannot be reached."""
    with configured(tmp_path_factory.mktemp("away"), **nowhere()).running() as one:
        one.wait_until_it_listens("/healthz")
        yield one


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Ingest that takes next to nothing, and that little not either."""
    with configured(tmp_path_factory.mktemp("busy"), rate="1/second", **nowhere()).running() as one:
        one.wait_until_it_listens("/healthz")
        yield one


def nowhere() -> dict[str, str]:
    """A log that cannot be reached."""
    return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "INGEST_APPEND_SECONDS": "0.2"}


@pytest.fixture(scope="module")
def all_came(service: Service, busy: Service, away: Service, log_database: str, in_pages: Pages) -> dict[str, Came]:
    """All clients at once, each with troubles of its own."""
    with ExitStack() as stack, ThreadPoolExecutor(len(PROGRAMS)) as pool:
        proxies = {
            one.name: stack.enter_context(between(service.url, busy.url, away.url, deeds_to(one))) for one in CLIENTS
        }
        running = {one.name: start(pool, one, proxies[one.name].url, calls_of(one)) for one in PROGRAMS}
        for one in PAGES:
            in_pages.tell(one, proxies[one.name].url, calls_of(one))
        ends = {name: end.result() for name, end in running.items()}
        ends |= {name: Ended.of_page(end) for name, end in in_pages.told().items()}
        expected = {one.name: 1 if deeds_to(one) == SPOILT else 5 - len(lost_by(one)) for one in CLIENTS}
        touchpoints = when_there(log_database, expected)
        return {
            one.name: Came(ends[one.name], proxies[one.name].statuses, of_user(touchpoints, one.name))
            for one in CLIENTS
        }


def deeds_to(client: Client) -> list[Deed]:
    return SPOILT if client in (*REFUSED, *PAGES_REFUSED) else TROUBLE


def lost_by(client: Client) -> set[int]:
    """The calls that cannot be expected to arrive."""
    if deeds_to(client) == SPOILT:
        return {0, 1, 2}
    return {0, 1} if client.key == JITSU_KEY else set()


@pytest.mark.parametrize("name", [one.name for one in (*IN_TROUBLE, *PAGES_IN_TROUBLE)])
def test_what_a_client_tries_again_is_there_once(all_came: dict[str, Came], name: str) -> None:
    [client] = [one for one in CLIENTS if one.name == name]
    came = all_came[name]
    assert came.ended.code == 0, came.ended.said
    assert 503 in came.statuses
    assert len([status for status in came.statuses if status in (429, 503)]) == 2  # busy, away
    assert came.numbers == [number for number in range(5) if number not in lost_by(client)]


@pytest.mark.parametrize("name", [one.name for one in (*REFUSED, *PAGES_REFUSED)])
def test_what_cannot_be_used_is_sent_once_and_the_next_is_taken(all_came: dict[str, Came], name: str) -> None:
    came = all_came[name]
    assert came.ended.code == 0, came.ended.said
    too_large = 422 if name.startswith("snowplow") else 413
    assert sorted(status for status in came.statuses if status != 200) == [400, 401, too_large]
    assert 4 in came.numbers
    assert len(came.numbers) == len(set(came.numbers))
