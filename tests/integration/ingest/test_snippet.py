"""The snippet in a browser, on pages of other origins: what is on the log, what is kept, and what never leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from services.ingest.errors import Refusal
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import decode_touch
from shared.identifiers import IdentityRules
from shared.journey_map import load_maps
from shared.touchpoint import Touchpoint
from tests.integration.ingest.conftest import ROOT, Service, Written
from tests.integration.ingest.shop import Gate, gate_before, shop_at
from tests.support.browser import browser
from tests.support.pipeline import eventually

DNT = "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})"
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
NOTHING_WAITS = "return !Object.keys(localStorage).some(name => name.startsWith('throughline.q'))"


@dataclass
class Visitor:
    """Somebody with a browser before a shop that sends through a gate. Each shop name is an origin of its own."""

    page: Chrome
    gate: Gate
    port: int
    written: Written

    def visit(self, shop: str, query: str = "", path: str = "/") -> None:
        self.page.get(f"http://{shop}.localhost:{self.port}{path}{query}")
        self.until("return !window.throughline.map")

    def call(self, script: str) -> Any:
        return self.page.execute_script(script)

    def until(self, script: str) -> Any:
        return WebDriverWait(self.page, 30, poll_frequency=0.02).until(lambda _: self.call(script))

    @property
    def kept(self) -> dict[str, str]:
        """What the page's origin keeps."""
        kept: dict[str, str] = self.call("return {...localStorage}")
        return kept

    @property
    def waiting(self) -> int:
        """How many touchpoints are kept until they are answered."""
        return sum(name.startswith("throughline.q") for name in self.kept)

    def offline(self, is_offline: bool) -> None:
        conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.page.execute_cdp_cmd("Network.enable", {})
        self.page.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    @contextmanager
    def saying(self, script: str) -> Iterator[None]:
        """With a script that runs before those of every page."""
        added = self.page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        try:
            yield
        finally:
            self.page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    async def arrived(self, event: str, n: int = 1) -> list[dict[str, Any]]:
        """The touchpoints of this name as they were sent, once ingest took them."""

        async def there() -> list[dict[str, Any]]:
            sent = [
                one for body in self.gate.sent for one in body["batch"] if event in (one.get("event"), one.get("name"))
            ]
            return sent if len(sent) >= n else []

        found: list[dict[str, Any]] = await eventually(there, 30)
        return found

    async def on_the_log(self, *ids: str) -> list[Touchpoint]:
        """The touchpoints of these ids, each as often as it is there, once all are."""

        async def there() -> list[Touchpoint]:
            found = await self.written.touchpoints(*ids)
            return found if {one.id for one in found} == set(ids) else []

        found: list[Touchpoint] = await eventually(there, 30)
        return found


@pytest.fixture(scope="module")
def gate(service: Service) -> Iterator[tuple[Gate, str]]:
    with gate_before(service.url) as gate:
        yield gate


@pytest.fixture(scope="module")
def shop(gate: tuple[Gate, str]) -> Iterator[int]:
    with shop_at(gate[1]) as port:
        yield port


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def visitor(one_browser: Chrome, gate: tuple[Gate, str], shop: int, written: Written) -> Iterator[Visitor]:
    gate[0].sent.clear()
    yield Visitor(one_browser, gate[0], shop, written)
    one_browser.get("about:blank")


async def test_every_call_arrives_once_as_it_was_made(visitor: Visitor, anybody: httpx.AsyncClient) -> None:
    visitor.visit("calls", "?utm_source=news&utm_medium=email&utm_campaign=fr%C3%BChling", "/café")
    visitor.call("""
        throughline.track('Bought ☕', {price: 2.5, note: 'żółw 日本 😀'});
        throughline.identify('u-7', {email: 'Zoë@example.com'});
        throughline.group('g-1', {plan: 'größte'});
        history.pushState({}, '', '/next');
    """)
    visitor.until(NOTHING_WAITS)
    visitor.call("throughline.reset(); throughline.page('Done')")
    [done] = await visitor.arrived("Done")
    sent = [one for body in visitor.gate.sent for one in body["batch"]]
    found = await visitor.on_the_log(*(one["messageId"] for one in sent))
    assert [(one.type, one.event) for one in found] == [
        ("page", None), ("track", "Bought ☕"), ("identify", None), ("group", None), ("page", None), ("page", "Done"),
    ]  # fmt: skip
    page, track, identify, group, moved, last = found
    assert track.properties == {"price": 2.5, "note": "żółw 日本 😀"}
    assert identify.ids == {**page.ids, "user_id": "u-7", "email": "zoë@example.com"}
    assert (group.group_id, group.traits) == ("g-1", {"plan": "größte"})
    assert [one.context["page"]["path"] for one in found] == ["/caf%C3%A9"] * 4 + ["/next"] * 2
    assert (page.acquisition, page.channel) == ("Email", "email")
    assert page.context["campaign"] == {"source": "news", "medium": "email", "name": "frühling"}
    assert page.context["page"]["title"] == "Café"
    assert moved.context["page"]["referrer"] == page.context["page"]["url"]
    assert moved.ids == {**page.ids, "user_id": "u-7"}
    assert last.ids.keys() == {"anonymous_id"}
    assert last.ids != page.ids
    assert not [flag for one in found for flag in one.flags if flag.startswith("time")]
    assert done["messageId"] == last.id
    log: list[dict[str, str]] = visitor.page.get_log("browser")  # type: ignore[no-untyped-call]
    assert not [line for line in log if line["level"] == "SEVERE"]
    schema = (await anybody.get("/openapi.json")).json()
    batch = jsonschema_rs.validator_for({"$ref": "#/components/schemas/Batch", "components": schema["components"]})
    for body in visitor.gate.sent:
        batch.validate(body)


async def test_calls_before_it_is_there_are_made_then(visitor: Visitor) -> None:
    visitor.visit("early", "?early=throughline.identify('u-8');throughline.page('Named')")
    [named] = await visitor.arrived("Named")
    sent = [one for body in visitor.gate.sent for one in body["batch"]]
    assert [one["type"] for one in sent] == ["identify", "page"]
    assert named["userId"] == "u-8"


async def test_only_another_url_is_another_page_view(visitor: Visitor) -> None:
    visitor.visit("routes")
    visitor.call("""
        history.replaceState({}, '', '/');
        history.pushState({}, '', '#reviews');
        history.pushState({}, '', '/a?x=1');
    """)
    visitor.until("return location.pathname === '/a'")
    visitor.call("history.back()")
    visitor.until("return location.hash === '#reviews'")
    visitor.call("setTimeout(() => throughline.track('Looked'))")
    await visitor.arrived("Looked")
    pages = [one for body in visitor.gate.sent for one in body["batch"] if one["type"] == "page"]
    assert [one["context"]["page"]["url"].split("/", 3)[3] for one in pages] == ["", "a?x=1", "#reviews"]


async def test_a_page_that_nobody_sees_yet_is_viewed_when_it_is_shown(visitor: Visitor) -> None:
    with visitor.saying("Object.defineProperty(Document.prototype, 'prerendering', {get: () => true})"):
        visitor.visit("prerendered")
        visitor.call("throughline.track('Prepared'); dispatchEvent(new Event('pagehide'))")
        await visitor.arrived("Prepared")
        visitor.call("document.dispatchEvent(new Event('prerenderingchange')); throughline.track('Shown')")
        await visitor.arrived("Shown")
    assert [[one["type"] for one in body["batch"]] for body in visitor.gate.sent] == [["track"], ["page", "track"]]


async def test_what_happens_last_arrives_after_the_page_has_gone(visitor: Visitor) -> None:
    visitor.visit("leaving")
    visitor.call("throughline.track('Left', {note: '😀'.repeat(2000)}); location.href = 'about:blank'")
    [left] = await visitor.arrived("Left")
    [found] = await visitor.on_the_log(left["messageId"])
    assert found.properties == {"note": "😀" * 2000}


async def test_what_was_refused_for_now_is_sent_again_when_it_was_told_to(visitor: Visitor) -> None:
    visitor.visit("busy")
    visitor.gate.refusals += [Refusal("log_unavailable", retry_after=1), Refusal("rate_exceeded", retry_after=1)]
    start = time.monotonic()
    visitor.call("throughline.track('Tried')")
    tries = await visitor.arrived("Tried", 3)
    assert time.monotonic() - start >= 2
    assert len({one["messageId"] for one in tries}) == 1
    assert len(await visitor.on_the_log(tries[0]["messageId"])) == 1
    visitor.until(NOTHING_WAITS)
    assert len(visitor.gate.posts_with("Tried")) == 3


async def test_what_was_done_offline_arrives_when_the_network_is_back(visitor: Visitor) -> None:
    visitor.visit("offline")
    visitor.until(NOTHING_WAITS)
    visitor.offline(True)
    visitor.call("throughline.track('Stayed'); dispatchEvent(new Event('pagehide'))")
    assert visitor.waiting == 1
    visitor.offline(False)
    [stayed] = await visitor.arrived("Stayed")
    assert len(await visitor.on_the_log(stayed["messageId"])) == 1


async def test_what_was_not_taken_is_sent_by_the_next_page(visitor: Visitor) -> None:
    visitor.visit("later")
    visitor.until(NOTHING_WAITS)
    visitor.gate.refusals += [Refusal("log_unavailable", retry_after=600)]
    visitor.call("throughline.track('Refused for now')")
    await visitor.arrived("Refused for now")
    visitor.call("for (let n = 0; n < 600; n++) throughline.track('Made', {n})")
    assert visitor.waiting == 500
    visitor.visit("later")
    made = await visitor.arrived("Made", 499)
    numbers = {one["properties"]["n"] for one in made}
    assert (len(made), len(numbers), min(numbers) >= 100) == (499, 499, True)  # the view of this page is kept, too
    assert len(await visitor.on_the_log(*(one["messageId"] for one in made))) == 499
    assert max(len(json.dumps(body)) for body in visitor.gate.sent) < 30_000
    visitor.until(NOTHING_WAITS)
    assert len(visitor.gate.posts_with("Refused for now")) == 1  # the oldest makes room


async def test_it_works_where_nothing_can_be_kept(visitor: Visitor) -> None:
    with visitor.saying("Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked') }})"):
        visitor.visit("blocked")
        visitor.call("throughline.identify('u-10'); throughline.track('Sent')")
        [sent] = await visitor.arrived("Sent")
    assert sent["userId"] == "u-10"
    assert len({one["anonymousId"] for body in visitor.gate.sent for one in body["batch"]}) == 1


async def test_what_is_refused_for_good_is_dropped(visitor: Visitor) -> None:
    visitor.visit("unknown", "?key=nobody")
    visitor.call("throughline.track('Refused'); dispatchEvent(new Event('pagehide'))")
    visitor.until(NOTHING_WAITS)
    assert len(visitor.gate.posts_with("Refused")) == 1


@pytest.mark.parametrize(
    ("origin", "signal", "query"), [("dnt", DNT, ""), ("gpc", GPC, ""), ("required", "", "?required")], ids=lambda _: ""
)
async def test_nothing_is_kept_or_sent_before_consent_where_that_is_asked_for(
    visitor: Visitor, origin: str, signal: str, query: str
) -> None:
    with visitor.saying(signal):
        visitor.visit(origin, query)
        visitor.call("throughline.track('Looked'); throughline.ask(); dispatchEvent(new Event('pagehide'))")
        assert visitor.kept == {}
        assert not visitor.call("return document.querySelector('html > div')")
        visitor.call("throughline.consent({analytics: true, ads: false})")
        [looked] = await visitor.arrived("Looked")
        assert len(visitor.gate.sent) == 1
        [found] = await visitor.on_the_log(looked["messageId"])
        assert found.context["consent"] == {"categoryPreferences": {"analytics": True, "ads": False}}
        assert bool(found.context.get("gpc")) is (signal == GPC)
        assert "throughline.id" in visitor.kept


async def test_a_refusal_forgets_everything_but_itself_for_this_page_and_the_next(visitor: Visitor) -> None:
    visitor.visit("refused")
    visitor.call("throughline.identify('u-9'); throughline.consent({analytics: false}); throughline.track('Hidden')")
    assert visitor.kept == {"throughline-consent": '{"analytics":false}'}
    visitor.visit("refused")
    visitor.call("throughline.track('Hidden'); dispatchEvent(new Event('pagehide'))")
    assert visitor.kept == {"throughline-consent": '{"analytics":false}'}
    visitor.call("throughline.consent({analytics: true}); throughline.track('Agreed')")
    [agreed] = await visitor.arrived("Agreed")
    assert "userId" not in agreed
    assert [one["event"] for body in visitor.gate.sent for one in body["batch"]] == ["Agreed"]


async def test_what_was_done_before_a_refusal_is_gone_even_if_the_visitor_agrees_later(visitor: Visitor) -> None:
    visitor.visit("wavering", "?required")
    visitor.call("throughline.track('Before'); throughline.consent({analytics: false})")
    visitor.call("throughline.consent({ads: false}); throughline.consent({analytics: true})")
    visitor.call("throughline.track('After')")
    assert visitor.waiting == 1
    await visitor.arrived("After")
    assert not visitor.gate.posts_with("Before")


async def test_a_question_is_answered_by_keyboard(visitor: Visitor) -> None:
    visitor.visit("asking")
    visitor.call("document.getElementById('buy').focus(); throughline.ask({question: 'Wie war es?', why: 'Warum?'})")
    press(visitor, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.TAB, "Schön ☕", Keys.TAB, Keys.ENTER)
    [answered] = await visitor.arrived("Survey Answered")
    [found] = await visitor.on_the_log(answered["messageId"])
    assert found.properties == {"rating": 4, "reason": "Schön ☕", "question": "Wie war es?"}
    shop = Plan(1, next(one for one in load_maps(ROOT / "deploy" / "config") if one.map == "shop"))
    assert shop.match(decode_touch(msgspec.json.encode(found), IdentityRules())).felt == 500_000  # 4 of 1 to 5
    assert visitor.call("return document.activeElement.id") == "buy"


async def test_a_question_says_what_it_is_and_can_be_closed(visitor: Visitor) -> None:
    visitor.visit("closing")
    visitor.call("throughline.ask({question: 'How?'}); throughline.ask({question: 'Again?'})")
    [dialog] = survey(visitor).find_elements(By.CSS_SELECTOR, "dialog")
    assert (dialog.aria_role, dialog.accessible_name) == ("dialog", "How?")
    named = [field.accessible_name for field in dialog.find_elements(By.CSS_SELECTOR, "input, textarea, button")]
    assert named == ["1", "2", "3", "4", "5", "Why?", "Send", "Close"]
    press(visitor, Keys.TAB, Keys.TAB, Keys.ENTER)
    assert dialog.is_displayed()  # no answer without a rating
    press(visitor, Keys.ESCAPE)
    visitor.until("return !document.querySelector('html > div')")
    visitor.call("throughline.ask()")
    survey(visitor).find_elements(By.CSS_SELECTOR, "button")[-1].click()
    visitor.until("return !document.querySelector('html > div')")
    assert not visitor.gate.posts_with("Survey Answered")


async def test_the_page_to_try_it_on_shows_what_is_sent_and_answered(visitor: Visitor, service: Service) -> None:
    visitor.page.get(f"{service.url}/try")
    find: Callable[[str], Any] = lambda selector: visitor.page.find_element(By.CSS_SELECTOR, selector)  # noqa: E731
    find("[name=key]").send_keys("shop-key", Keys.ENTER)
    visitor.until("return window.throughline && document.querySelector('#sent').textContent.includes('page')")
    find("#track button").click()
    said = visitor.until(
        "return document.querySelector('#sent').textContent.includes('Product Viewed')"
        " && document.querySelector('#sent pre').textContent"
    )
    assert said == '200 {"success":true,"accepted":1,"rejected":[]}'
    assert "shop-key" in find("#embed").text


def survey(visitor: Visitor) -> Any:
    return visitor.page.find_element(By.CSS_SELECTOR, "html > div").shadow_root


def press(visitor: Visitor, *keys: str) -> None:
    ActionChains(visitor.page, duration=0).send_keys(*keys).perform()
