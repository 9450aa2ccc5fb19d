"""Channel and acquisition of a touchpoint, as ordered tables of rules. Pure.

Acquisition follows GA4's default channel group: the first rule of GROUPS that holds for (source, medium, campaign).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from shared.touchpoint import ACQUISITIONS, CHANNELS


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SEARCH: Final = _names("""
    360.cn alice aol ask avg babylon baidu bing biglobe centrum.cz cnn comcast conduit daum dogpile duckduckgo ecosia
    exalead excite fireball globo go.mail.ru google incredimail kagi kvasir lycos mamma mojeek msn naver onet presearch
    qwant rakuten rambler search-results search.smt.docomo.ne.jp sesam seznam so.com sogou startpage startsiden
    swisscows terra tut.by ukr virgilio yahoo yandex yippy yep
""")
SOCIAL: Final = _names("""
    badoo bebo blogger bluesky bsky.app clubhouse discord douban facebook fb fb.me flickr flipboard foursquare
    goodreads hi5 ig instagram kakao line linkedin livejournal lnkd.in mastodon medium meetup meta mix myspace nextdoor
    ok.ru pinterest plurk qzone quora reddit sina slack snapchat spotlight stumbleupon t.co t.me telegram threads
    tiktok tumblr twitter viadeo vk vk.com vkontakte wechat weibo weixin whatsapp wordpress x.com xing yammer yelp
""")
VIDEO: Final = _names("""
    bilibili dailymotion disneyplus hulu iqiyi netflix rutube ted twitch vimeo vine wistia youku youtu.be youtube
""")
SHOPPING: Final = _names("""
    alibaba aliexpress amazon ebay etsy idealo igshopping jd kelkoo mercadolibre otto pricerunner rakuten.co.jp shein
    shop.app shopify shopzilla skroutz taobao temu tmall walmart zalando
""")
ASSISTANTS: Final = _names("""
    chat.mistral.ai chat.openai.com chatgpt chatgpt.com claude claude.ai copilot copilot.microsoft.com deepseek
    gemini gemini.google.com grok meta.ai openai perplexity perplexity.ai phind poe you.com
""")

_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*")
_SHOP = re.compile(r".*(?:(?:[^a-df-z]|^)shop|shopping).*")
_DISPLAY = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_SOCIAL_MEDIUM = frozenset(("social", "social-network", "social-media", "sm", "social network", "social media"))
_EMAIL = frozenset(("email", "e-mail", "e_mail", "e mail"))
_NO_MEDIUM = frozenset(("", "(none)", "(not set)", "none"))


class Origin(NamedTuple):
    """Where a visit came from, in lower case; empty where nothing is known."""

    source: str
    medium: str
    campaign: str


def _is(names: frozenset[str]) -> Callable[[Origin], bool]:
    return lambda origin: is_site(origin.source, names)


def _paid(origin: Origin) -> bool:
    return _PAID.fullmatch(origin.medium) is not None


def _shopping(origin: Origin) -> bool:
    return is_site(origin.source, SHOPPING) or _SHOP.fullmatch(origin.campaign) is not None


_search, _social, _video, _assistant = _is(SEARCH), _is(SOCIAL), _is(VIDEO), _is(ASSISTANTS)

GROUPS: Final[tuple[tuple[str, Callable[[Origin], bool]], ...]] = (
    ("Direct", lambda o: o.source in ("", "(direct)", "direct") and o.medium in _NO_MEDIUM),
    ("Cross-network", lambda o: "cross-network" in o.campaign),
    ("Paid Shopping", lambda o: _paid(o) and _shopping(o)),
    ("Paid Search", lambda o: _paid(o) and _search(o)),
    ("Paid Social", lambda o: _paid(o) and _social(o)),
    ("Paid Video", lambda o: _paid(o) and _video(o)),
    ("Display", lambda o: o.medium in _DISPLAY),
    ("Paid Other", _paid),
    ("AI Assistants", _assistant),
    ("Organic Shopping", _shopping),
    ("Organic Social", lambda o: _social(o) or o.medium in _SOCIAL_MEDIUM),
    ("Organic Video", lambda o: _video(o) or "video" in o.medium),
    ("Organic Search", lambda o: _search(o) or o.medium == "organic"),
    ("Email", lambda o: o.source in _EMAIL or o.medium in _EMAIL),
    ("Affiliates", lambda o: o.medium in ("affiliate", "affiliates")),
    ("Referral", lambda o: o.medium in ("referral", "app", "link")),
    ("Audio", lambda o: o.medium == "audio"),
    ("SMS", lambda o: "sms" in (o.source, o.medium)),
    ("Mobile Push Notifications", lambda o: o.medium.endswith("push") or "mobile" in o.medium
        or "notification" in o.medium or o.source == "firebase"),
    ("Unassigned", lambda _: True),
)  # fmt: skip

CHANNEL_OF: Final[dict[str, str]] = {  # what an acquisition says about the medium of the interaction; else nothing
    "Paid Shopping": "ads", "Paid Search": "ads", "Paid Social": "ads", "Paid Video": "ads", "Display": "ads",
    "Paid Other": "ads", "Cross-network": "ads", "Organic Social": "social", "Email": "email", "Affiliates": "partner",
    "SMS": "sms", "Mobile Push Notifications": "push",
}  # fmt: skip

CHANNEL_OF_TYPE: Final = {"page": "web", "screen": "app"}
FALLBACK: Final = "web"

CLICK_IDS: Final[tuple[tuple[str, str, str], ...]] = (  # parameter of a landing page, source, medium
    ("gclid", "google", "cpc"), ("wbraid", "google", "cpc"), ("gbraid", "google", "cpc"), ("msclkid", "bing", "cpc"),
    ("dclid", "doubleclick", "display"), ("ttclid", "tiktok", "cpc"), ("twclid", "twitter", "cpc"),
    ("li_fat_id", "linkedin", "cpc"), ("fbclid", "facebook", "social"),
)  # fmt: skip

_SPOKEN: Final = {  # how people write the acquisitions, without case, blanks, dashes and underscores
    **{name.lower().replace(" ", "").replace("-", ""): name for name in ACQUISITIONS},
    "organic": "Organic Search", "search": "Organic Search", "social": "Organic Social", "video": "Organic Video",
    "shopping": "Organic Shopping", "cpc": "Paid Search", "ppc": "Paid Search", "affiliate": "Affiliates",
    "push": "Mobile Push Notifications", "ai": "AI Assistants", "aiassistant": "AI Assistants",
}  # fmt: skip


def classify(
    type_: str, context: dict[str, Any], properties: dict[str, Any], of_source: str | None
) -> tuple[str, str | None]:
    """Channel and acquisition of a touchpoint; no acquisition where nothing says how the visit began.

    Each is the context's own word, else what campaign and referrer say; the channel else the source's, else the type's.
    """
    traced = _traced(type_, context, properties)
    channel = _own_channel(context["channel"]) if "channel" in context else None
    acquisition = _own_acquisition(context["acquisition"]) if "acquisition" in context else None
    if channel is None:
        channel = (CHANNEL_OF.get(traced) if traced else None) or of_source or CHANNEL_OF_TYPE.get(type_, FALLBACK)
    return channel, acquisition or traced


def _own_channel(named: Any) -> str | None:
    own = named.strip().lower() if type(named) is str else None
    return own if own in CHANNELS else None


def _own_acquisition(named: Any) -> str | None:
    return _SPOKEN.get(re.sub(r"[\s_-]", "", named).lower()) if type(named) is str else None


def group(origin: Origin) -> str:
    """GA4's default channel group."""
    return next(name for name, holds in GROUPS if holds(origin))


def is_site(source: str, names: frozenset[str]) -> bool:
    """Whether a source is one of these sites: by name, by host, or by a host under a country's domain."""
    if source in names:
        return True
    if "." not in source:
        return False
    host = source.removeprefix("www.").removeprefix("m.")
    if host in names:
        return True
    labels = host.split(".")
    for place, label in enumerate(labels[:-1]):
        suffix = labels[place + 1 :]
        if ".".join(labels[place:]) in names or (label in names and _is_public(suffix) and place <= 1):
            return labels[0] not in _NO_ENGINES or place == 0
    return False


_NO_ENGINES = frozenset(("mail", "docs", "drive", "calendar", "accounts", "meet", "groups", "sites", "classroom"))


def _is_public(suffix: list[str]) -> bool:
    """`com`, `de`, `co.uk`: what may follow a site's name."""
    return len(suffix) == 1 or (len(suffix) == 2 and len(suffix[1]) == 2 and len(suffix[0]) <= 3)


def _traced(type_: str, context: dict[str, Any], properties: dict[str, Any]) -> str | None:
    """What campaign, landing page and referrer say."""
    page = context.get("page")
    if type(page) is not dict:
        if type_ != "page" and "campaign" not in context:
            return None
        page = properties if type_ == "page" else {}
    campaign = context.get("campaign")
    referrer, url = page.get("referrer"), page.get("url")
    if (
        type(campaign) is dict
        and (said := tuple(_word(campaign, part) for part in ("source", "medium", "name"))) != _NONE
    ):
        return _of_campaign(*said)
    query = page.get("search") or (url.partition("?")[2] if type(url) is str and "?" in url else "")
    telling = query if query and type(query) is str and _TELLING.search(query) else ""
    if type(referrer) is str:
        return _of_landing(telling, _authority(referrer), _authority(url) if type(url) is str else "")
    return _of_landing(telling, None, "") if telling else None


_NONE: Final = ("", "", "")
_TELLING = re.compile("utm_|" + "|".join(name for name, _, _ in CLICK_IDS))


def _word(campaign: dict[str, Any], name: str) -> str:
    value = campaign.get(name)
    return value.strip().lower() if type(value) is str else ""


def _authority(url: str) -> str:
    """What stands between `//` and the next slash; empty for what is no URL."""
    parts = url.split("/", 3)
    return parts[2] if len(parts) > 2 and not parts[1] else ""


def _host(authority: str) -> str:
    """In lower case, without user, port and query."""
    return authority.partition("?")[0].partition("#")[0].rpartition("@")[2].partition(":")[0].lower()


@lru_cache(maxsize=4096)
def _of_campaign(source: str, medium: str, campaign: str) -> str:
    return group(Origin(source, medium, campaign))


@lru_cache(maxsize=16384)
def _of_landing(query: str, referrer: str | None, site: str) -> str | None:
    """``referrer`` and ``site`` are the authorities of URLs, "" for none; None for a referrer that was not told."""
    origin = _origin(query, None if referrer is None else _host(referrer), _host(site))
    return None if origin is None else group(origin)


def _origin(query: str, referrer: str | None, host: str) -> Origin | None:
    """The utm_ parameters and click ids of the landing page, else the referring host."""
    asked = dict(parse_qsl(query.lstrip("?").partition("#")[0]))
    if any(name.startswith("utm_") for name in asked):
        return Origin(*(asked.get(f"utm_{part}", "").strip().lower() for part in ("source", "medium", "campaign")))
    for name, clicked, by in CLICK_IDS:
        if name in asked:
            return Origin(clicked, by, "")
    if referrer is None or (referrer and _is_within(referrer, host)):
        return None  # a step within the site says nothing about how the visit began
    return Origin(referrer, "referral" if referrer else "", "")


def _is_within(referrer: str, host: str) -> bool:
    """Whether both hosts are of one site."""
    site, other = host.removeprefix("www."), referrer.removeprefix("www.")
    return bool(site) and (site == other or other.endswith(f".{site}") or site.endswith(f".{other}"))
