"""Every SDK tells one customer's story to the running service: all of it arrives, once and whole."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.encode import Rejected
from shared.touchpoint import Touchpoint
from tests.integration.ingest.conftest import Service
from tests.sdks.clients import IN_A_PAGE, LEAVING, PROGRAMS, Client
from tests.sdks.conftest import Ended, number_of, of_user, rejected, start, when_there
from tests.sdks.pages import Pages
from tests.sdks.story import TOO_LARGE, Call, story, visit

pytestmark = pytest.mark.timeout(400)  # all clients run in the fixture of the first test
CLIENTS = [*PROGRAMS, *IN_A_PAGE]


@dataclass(frozen=True)
class Told:
    """A story that a client has told: what it was to send, how it ended, what is on the log of it."""

    client: Client
    calls: list[Call]
    ended: Ended
    touchpoints: list[Touchpoint]
    letters: list[Rejected]

    @property
    def fitting(self) -> list[Call]:
        return fitting(self.calls)

    def became(self, call: Call) -> Touchpoint:
        """The one touchpoint that a call became."""
        number = None if call["type"] == "alias" else call["n"]
        [one] = [t for t in self.touchpoints if (t.type, number_of(t)) == (call["type"], number)]
        return one


def fitting(calls: list[Call]) -> list[Call]:
    """The calls that are not too large."""
    return [call for call in calls if call.get("event") != TOO_LARGE]


def user_of(client: Client) -> str:
    """Whose story a client tells: a name that is part of no other's."""
    return f"{client.name}.told"


@pytest.fixture(scope="module")
def all_told(service: Service, log_database: str, in_pages: Pages) -> dict[str, Told]:
    """All clients at once."""
    now = datetime.now(UTC)
    calls = {one.name: one.sayable(story(user_of(one), now)) for one in CLIENTS}
    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        running = {one.name: start(pool, one, service.url, calls[one.name]) for one in PROGRAMS}
        for one in IN_A_PAGE:
            in_pages.tell(one, service.url, calls[one.name])
    ends = {name: end.result() for name, end in running.items()}
    ends |= {name: Ended.of_page(end) for name, end in in_pages.told().items()}
    touchpoints = when_there(log_database, {user_of(one): len(fitting(calls[one.name])) for one in CLIENTS})
    letters = asyncio.run(rejected(log_database))
    return {
        one.name: Told(
            one, calls[one.name], ends[one.name], of_user(touchpoints, user_of(one)),
            [letter for letter in letters if user_of(one) in letter.data],
        )
        for one in CLIENTS
    }  # fmt: skip


@pytest.fixture(params=[one.name for one in CLIENTS])
def told(all_told: dict[str, Told], request: pytest.FixtureRequest) -> Told:
    return all_told[request.param]


def test_every_touchpoint_arrives_once_with_name_time_and_identifiers(told: Told) -> None:
    assert told.ended.code == 0, told.ended.said
    assert len(told.ended.errors) == len(told.client.hears_of), told.ended.errors
    assert len(told.touchpoints) == len(told.fitting)
    for call in told.fitting:
        one = told.became(call)
        assert one.event == call.get("event", call.get("name"))
        assert whose(one) == {call["user"]} | ({call["previous_id"]} if call["type"] == "alias" else set())
        assert one.flags == ()
        assert one.time == datetime.fromisoformat(call["time"]) if "time" in call else is_just_now(one)
        assert one.group_id == call.get("group_id")


def whose(touchpoint: Touchpoint) -> set[str]:
    """The users that a touchpoint names: of an alias both, in either order, since PostHog's clients differ in it."""
    return {touchpoint.ids["user_id"], touchpoint.previous_id or touchpoint.ids["user_id"]}


def is_just_now(touchpoint: Touchpoint) -> bool:
    return touchpoint.received_at - timedelta(seconds=60) < touchpoint.time <= touchpoint.received_at


def test_properties_and_traits_are_as_they_were_given(told: Told) -> None:
    for call in told.fitting:
        one = told.became(call)
        assert one.properties.items() >= call.get("properties", {}).items()
        assert one.traits.items() >= call.get("traits", {}).items()


def test_the_email_of_an_identify_is_an_identifier(told: Told) -> None:
    for identify in (one for one in told.touchpoints if one.type == "identify"):
        assert identify.ids["email"] == f"{user_of(told.client)}@example.com"


def test_what_is_too_large_is_kept_among_the_rejected(told: Told) -> None:
    large = {call["n"] for call in told.calls if call.get("event") == TOO_LARGE}
    held_back = large if TOO_LARGE in told.client.holds_back else set()
    assert told.ended.refused == held_back
    assert {letter.reason for letter in told.letters} == ({"too_large"} if large - held_back else set())


def test_what_is_told_as_a_page_is_left_arrives(service: Service, log_database: str, in_pages: Pages) -> None:
    visits = {one.name: one.sayable(visit(one.name, 5)) for one in LEAVING}
    for one in LEAVING:
        in_pages.tell(one, service.url, visits[one.name])
    expected = {name: len(calls) for name, calls in visits.items()}
    found = when_there(log_database, expected)
    assert {name: len(of_user(found, name)) for name in visits} == expected
