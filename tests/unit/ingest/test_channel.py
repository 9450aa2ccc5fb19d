"""Channel and acquisition: the context's own word, else GA4's default channel group, else source and type."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.channel import GROUPS, Origin, classify, group
from shared.touchpoint import ACQUISITIONS, CHANNELS

SITE = "https://shop.example/products/1"


def classified(
    type_: str = "page", *, of_source: str | None = None, properties: dict[str, Any] | None = None, **context: Any
) -> tuple[str, str | None]:
    return classify(type_, context, properties or {}, of_source)


def landed(query: str = "", referrer: str | None = None) -> tuple[str, str | None]:
    return classified(page={"url": SITE + query, "referrer": referrer})


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "expected"),
    [
        ("google", "cpm", "", "Paid Search"),
        ("unknown", "cpm", "", "Display"),
        ("newsletter", "email", "", "Email"),
        ("qr", "", "", "Unassigned"),
        ("facebook", "paid-social", "", "Paid Social"),
        ("shop", "mail", "eshop-spring", "Organic Shopping"),
        ("x", "mail", "workshop", "Unassigned"),
        ("x", "cpc", "shop-summer", "Paid Shopping"),
        ("youtube.com", "cpv", "", "Paid Video"),
        ("youtube.com", "cpc", "", "Paid Video"),
        ("vimeo", "", "", "Organic Video"),
        ("www.google.co.uk", "referral", "", "Organic Search"),
        ("m.facebook.com", "referral", "", "Organic Social"),
        ("chatgpt.com", "", "", "AI Assistants"),
        ("gemini.google.com", "referral", "", "AI Assistants"),
        ("mail.google.com", "referral", "", "Referral"),
        ("google.evil.example", "referral", "", "Referral"),
        ("some.blog", "referral", "", "Referral"),
        ("partner", "affiliate", "", "Affiliates"),
        ("x", "audio", "", "Audio"),
        ("sms", "", "", "SMS"),
        ("x", "web-push", "", "Mobile Push Notifications"),
        ("", "", "", "Direct"),
        ("google", "cpc", "cross-network brand", "Cross-network"),
    ],
)
def test_the_default_channel_group(source: str, medium: str, campaign: str, expected: str) -> None:
    assert group(Origin(source, medium, campaign)) == expected


def test_every_group_is_one_of_the_acquisitions() -> None:
    assert {name for name, _, _ in GROUPS} == set(ACQUISITIONS)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("paid_search", "Paid Search"), ("Paid Search", "Paid Search"), ("organic", "Organic Search"),
        ("social", "Organic Social"), ("display", "Display"), ("referral", "Referral"), ("DIRECT", "Direct"),
        ("email", "Email"), ("cross-network", "Cross-network"), ("ai_assistants", "AI Assistants"), ("nonsense", None),
        (7, None),
    ],
)  # fmt: skip
def test_the_contexts_own_acquisition_wins(word: object, expected: str | None) -> None:
    assert classified(acquisition=word) == ("web", expected)


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_contexts_own_channel_wins(channel: str) -> None:
    assert classified(channel=channel.upper(), of_source="store", campaign={"medium": "email"})[0] == channel


def test_a_channel_that_is_none_of_ours_says_nothing() -> None:
    assert classified(channel="server", of_source="phone") == ("phone", None)


@pytest.mark.parametrize(
    ("campaign", "expected"),
    [
        ({"source": "newsletter", "medium": "Email"}, ("email", "Email")),
        ({"source": "google", "medium": "cpc"}, ("ads", "Paid Search")),
        ({"source": "x", "medium": "sms"}, ("sms", "SMS")),
        ({"source": "x", "medium": "affiliate"}, ("partner", "Affiliates")),
        ({"source": 7, "medium": None}, ("store", None)),
        ({}, ("store", None)),
    ],
)
def test_the_campaign_goes_before_the_source(campaign: dict[str, Any], expected: tuple[str, str | None]) -> None:
    assert classified(of_source="store", campaign=campaign) == expected


@pytest.mark.parametrize(
    ("query", "referrer", "expected"),
    [
        ("?utm_source=google&utm_medium=cpc", "https://www.google.com/", ("ads", "Paid Search")),
        ("?gclid=abc", "", ("ads", "Paid Search")),
        ("?fbclid=abc", "https://l.facebook.com/", ("social", "Organic Social")),
        ("", "https://www.google.de/search?q=x", ("web", "Organic Search")),
        ("", "https://t.co/x", ("social", "Organic Social")),
        ("", "", ("web", "Direct")),
        ("", None, ("web", None)),
        ("", "https://www.shop.example/cart", ("web", None)),
        ("", "https://blog.example/", ("web", "Referral")),
        ("", "http://[broken", ("web", "Referral")),
    ],
)
def test_landing_page_and_referrer(query: str, referrer: str | None, expected: tuple[str, str | None]) -> None:
    assert landed(query, referrer) == expected


def test_a_page_call_tells_in_its_properties_too() -> None:
    assert classified(properties={"url": SITE, "referrer": "https://bing.com/"}) == ("web", "Organic Search")


def test_the_source_then_the_type_then_the_web() -> None:
    assert classified("track", of_source="store") == ("store", None)
    assert classified("screen") == ("app", None)
    assert classified("track") == ("web", None)


def test_odd_shapes_say_nothing() -> None:
    assert classified(page=[1], campaign="x") == ("web", None)
    assert classified(page={"url": 7, "referrer": 8, "search": {}}) == ("web", None)
