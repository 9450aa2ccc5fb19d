"""The snippet as it is served: small, what its source gives, kept by browsers; and the pages beside it."""

from __future__ import annotations

import gzip
import re
import sys

import httpx
import pytest
from fastapi import FastAPI

from services.ingest.sources import Senders
from services.ingest.web.pages import HERE, web_routes
from shared.keys import Source
from shared.touchpoint import EPOCH

MOST_BYTES = 2048
SERVED = HERE / "t.min.js"


def web(*keys: str) -> httpx.AsyncClient:
    """The pages of an ingest with one source that has these keys."""
    app = FastAPI(routes=[*web_routes()])
    source = Source(name="shop", kind="browser", write_keys=[*keys])
    app.state.senders = Senders([source], now=lambda: EPOCH)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest")


def test_it_is_small() -> None:
    assert len(gzip.compress(SERVED.read_bytes())) < MOST_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="the minifier has no wheels for every other machine")
def test_what_is_served_is_what_the_source_gives() -> None:
    from tests.support.minified import minified

    assert SERVED.read_text() == minified(), "run `python -m tests.support.minified`"


async def test_it_is_sent_packed_to_those_who_ask() -> None:
    page = web("key")
    packed = await page.get("/t.js", headers={"accept-encoding": "br, gzip"})
    plain = await page.get("/t.js", headers={"accept-encoding": "identity"})
    assert packed.content == plain.content == SERVED.read_bytes()
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < MOST_BYTES
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_who_has_it_does_not_get_it_again() -> None:
    page = web("key")
    first = await page.get("/t.js")
    again = await page.get("/t.js", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "max-age=3600" in again.headers["cache-control"]
    unpacked = {"if-none-match": first.headers["etag"], "accept-encoding": "identity"}
    assert (await page.get("/t.js", headers=unpacked)).status_code == 200


async def test_its_headers_can_be_asked_for_alone() -> None:
    head = await web("key").head("/t.js")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"]


async def test_the_published_key_is_on_the_page_only_where_it_may_send() -> None:
    assert 'data-key="demo-write"' in (await web("other", "demo-write").get("/try")).text
    assert 'data-key=""' in (await web("other").get("/try")).text


async def test_the_pages_need_nothing_from_elsewhere() -> None:
    page = web("key")
    for path in ("/", "/try", "/try.js", "/try.css"):
        answer = await page.get(path)
        assert answer.status_code == 200
        assert not re.findall(r"https?://|//cdn", answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


async def test_the_page_finds_every_element_that_it_fills() -> None:
    page = web("key")
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', (await page.get("/try.js")).text))
    assert wanted
    assert wanted <= set(re.findall(r' id="([a-z-]+)"', (await page.get("/try")).text))


def test_what_others_wrote_is_never_read_as_markup() -> None:
    scripts = [(HERE / name).read_text() for name in ("t.js", "try.js")]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", "".join(scripts))
