"""Channel and acquisition of a touchpoint, as ordered tables of rules. Pure.

Acquisition follows GA4's default channel group: the first rule of GROUPS that holds for (source, medium, campaign).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from services.ingest.sites import Kind, kind_of
from shared.touchpoint import ACQUISITIONS, CHANNELS

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


def _is(kind: Kind) -> Callable[[Origin], bool]:
    return lambda origin: kind_of(origin.source) == kind


def _paid(origin: Origin) -> bool:
    return _PAID.fullmatch(origin.medium) is not None


def _shopping(origin: Origin) -> bool:
    return kind_of(origin.source) == "shopping" or _SHOP.fullmatch(origin.campaign) is not None


_search, _social, _video, _assistant = _is("search"), _is("social"), _is("video"), _is("assistant")

GROUPS: Final[tuple[tuple[str, str, Callable[[Origin], bool]], ...]] = (
    ("Direct", "no source, and no medium",
        lambda o: o.source in ("", "(direct)", "direct") and o.medium in _NO_MEDIUM),
    ("Cross-network", "the campaign's name has cross-network in it", lambda o: "cross-network" in o.campaign),
    ("Paid Shopping", "a paid medium, and the source is a shop or the campaign's name says shop",
        lambda o: _paid(o) and _shopping(o)),
    ("Paid Search", "a paid medium, and the source is a search engine", lambda o: _paid(o) and _search(o)),
    ("Paid Social", "a paid medium, and the source is a social network", lambda o: _paid(o) and _social(o)),
    ("Paid Video", "a paid medium, and the source is a video site", lambda o: _paid(o) and _video(o)),
    ("Display", "a medium of displayed ads", lambda o: o.medium in _DISPLAY),
    ("Paid Other", "a paid medium", _paid),
    ("AI Assistants", "the source is an AI assistant", _assistant),
    ("Organic Shopping", "the source is a shop, or the campaign's name says shop", _shopping),
    ("Organic Social", "the source is a social network, or the medium is social",
        lambda o: _social(o) or o.medium in _SOCIAL_MEDIUM),
    ("Organic Video", "the source is a video site, or the medium says video",
        lambda o: _video(o) or "video" in o.medium),
    ("Organic Search", "the source is a search engine, or the medium is organic",
        lambda o: _search(o) or o.medium == "organic"),
    ("Email", "source or medium is email", lambda o: o.source in _EMAIL or o.medium in _EMAIL),
    ("Affiliates", "the medium is affiliate", lambda o: o.medium in ("affiliate", "affiliates")),
    ("Referral", "the medium is referral, app or link", lambda o: o.medium in ("referral", "app", "link")),
    ("Audio", "the medium is audio", lambda o: o.medium == "audio"),
    ("SMS", "source or medium is sms", lambda o: "sms" in (o.source, o.medium)),
    ("Mobile Push Notifications", "the medium says push, mobile or notification, or the source is firebase",
        lambda o: o.medium.endswith("push") or "mobile" in o.medium or "notification" in o.medium
        or o.source == "firebase"),
    ("Unassigned", "no other rule holds", lambda _: True),
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
    traced = _traced(type_, context, properties, _of_campaign, _of_landing)
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
    return next(name for name, _, holds in GROUPS if holds(origin))


class Explained(NamedTuple):
    """An acquisition and how it came about: ``told_by`` what the origin was read from, ``place`` the place (from 1) and
    ``rule`` the sentence of the rule of GROUPS that held first, ``kind`` the kind of site that the source is."""

    acquisition: str
    told_by: str
    origin: Origin
    kind: Kind | None
    place: int
    rule: str


def explain(type_: str, context: dict[str, Any], properties: dict[str, Any]) -> Explained | None:
    """Why campaign, landing page and referrer of a touchpoint say what they say; None where they say nothing.

    It leaves out a word of the context's own (`context.acquisition`), which goes before all that.
    """
    return _traced(type_, context, properties, _explained_campaign, _explained_landing)


def _explained_campaign(source: str, medium: str, campaign: str) -> Explained:
    return _explained(Origin(source, medium, campaign), "context.campaign")


def _explained_landing(query: str, referrer: str | None, site: str) -> Explained | None:
    found = _origin(query, None if referrer is None else _host(referrer), _host(site))
    return None if found is None else _explained(*found)


def _explained(origin: Origin, told_by: str) -> Explained:
    place, (name, rule, _) = next((n, row) for n, row in enumerate(GROUPS, 1) if row[2](origin))
    return Explained(name, told_by, origin, kind_of(origin.source), place, rule)


_T = TypeVar("_T")


def _traced(
    type_: str, context: dict[str, Any], properties: dict[str, Any], of_campaign: Callable[[str, str, str], _T],
    of_landing: Callable[[str, str | None, str], _T | None],
) -> _T | None:  # fmt: skip
    """What campaign, landing page and referrer say, as the two functions put it."""
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
        return of_campaign(*said)
    query = page.get("search") or (url.partition("?")[2] if type(url) is str and "?" in url else "")
    telling = query if query and type(query) is str and _TELLING.search(query) else ""
    if type(referrer) is str:
        return of_landing(telling, _authority(referrer), _authority(url) if type(url) is str else "")
    return of_landing(telling, None, "") if telling else None


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
    found = _origin(query, None if referrer is None else _host(referrer), _host(site))
    return None if found is None else group(found[0])


def _origin(query: str, referrer: str | None, host: str) -> tuple[Origin, str] | None:
    """The utm_ parameters and click ids of the landing page, else the referring host; and which of these it was."""
    asked = dict(parse_qsl(query.lstrip("?").partition("#")[0]))
    if any(name.startswith("utm_") for name in asked):
        parts = (asked.get(f"utm_{part}", "").strip().lower() for part in ("source", "medium", "campaign"))
        return Origin(*parts), "utm_ parameters"
    for name, clicked, by in CLICK_IDS:
        if name in asked:
            return Origin(clicked, by, ""), f"click id {name}"
    if referrer is None or (referrer and _is_within(referrer, host)):
        return None  # a step within the site says nothing about how the visit began
    return Origin(referrer, "referral" if referrer else "", ""), "referrer" if referrer else "no referrer"


def _is_within(referrer: str, host: str) -> bool:
    """Whether both hosts are of one site."""
    site, other = host.removeprefix("www."), referrer.removeprefix("www.")
    return bool(site) and (site == other or other.endswith(f".{site}") or site.endswith(f".{other}"))
