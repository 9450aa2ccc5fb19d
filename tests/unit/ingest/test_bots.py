"""User agents of bots are told from those of people and of what people write programs with."""

from __future__ import annotations

import pytest

from services.ingest.bots import is_bot

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)
CUBOT = (
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile "
    "Safari/537.36"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    "agent",
    [
        GOOGLEBOT,
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        CHROME.replace("Chrome", "HeadlessChrome"),
    ],
)
def test_crawlers_previews_monitors_and_driven_browsers_are_bots(agent: str) -> None:
    assert is_bot(agent)


@pytest.mark.parametrize("agent", [CHROME, IPHONE, CUBOT, ""])
def test_people_are_not(agent: str) -> None:
    assert not is_bot(agent)


@pytest.mark.parametrize(
    "agent",
    [
        "curl/8.5.0", "python-requests/2.32", "analytics-python/2.4.0", "okhttp/4.12.0", "python-httpx/0.28.1",
        "Python/3.12 aiohttp/3.11.2", "Go-http-client/1.1", "Java-http-client/21.0.1", "node", "axios/1.7.7",
        "Python-urllib/3.12", "Java/17.0.12", "python-urllib3/1.26",
    ],
)  # fmt: skip
def test_what_a_program_sends_with_is_not(agent: str) -> None:
    assert not is_bot(agent)


def test_a_giant_user_agent_is_looked_at_in_part_only() -> None:
    assert not is_bot(CHROME + " " * 600 + "Googlebot/2.1")
