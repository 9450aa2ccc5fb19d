"""What kind of site a source is: a search engine, a social network, a video site, a shop, an AI assistant.

Google's published categories (`published.py`) go before the longer list of `referrers.json`, which `update.py` renews.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from services.ingest.sites.published import ASSISTANTS, SEARCH, SHOPPING, SOCIAL, VIDEO

Kind = Literal["search", "social", "video", "shopping", "assistant", "other"]
LONGEST: Final = 253  # characters that the name of a host may have
REFERRERS: Final = Path(__file__).with_name("referrers.json")


class Referrers(msgspec.Struct, frozen=True):
    """The vendored list: hosts by kind (`other`: known, and none of the kinds), and the package they are from."""

    package: str
    version: str
    sites: dict[Kind, list[str]]


def named() -> dict[str, Kind]:
    """Google's sources by name or host."""
    kinds: dict[Kind, frozenset[str]] = {
        "assistant": ASSISTANTS, "search": SEARCH, "shopping": SHOPPING, "social": SOCIAL, "video": VIDEO,
    }  # fmt: skip
    return {name: kind for kind, names in kinds.items() for name in names}


def listed(file: Path = REFERRERS) -> dict[str, Kind]:
    """The vendored list's hosts."""
    sites = msgspec.json.decode(file.read_bytes(), type=Referrers).sites
    return {host: kind for kind, hosts in sites.items() for host in hosts}


_NAMED: Final = named()
_LISTED: Final = listed()
_NO_ENGINES: Final = frozenset(("mail", "docs", "drive", "calendar", "accounts", "meet", "groups", "classroom"))


def kind_of(source: str) -> Kind | None:
    """The kind of a source in lower case, found by its name, its host, or a host under a country's domain."""
    return _kind_of(source) if len(source) <= LONGEST else None


@lru_cache(maxsize=16384)
def _kind_of(source: str) -> Kind | None:
    if source in _NAMED:
        return _NAMED[source]
    if "." not in source:
        return _LISTED.get(source)
    labels = source.removeprefix("www.").removeprefix("m.").split(".")
    for place in range(len(labels) - 1):
        kind = _at(labels, place)
        if kind is not None:
            return kind if place == 0 or labels[0] not in _NO_ENGINES else "other"
    return None


def _at(labels: list[str], place: int) -> Kind | None:
    host = ".".join(labels[place:])
    kind = _NAMED.get(host)
    if kind is None and place <= 1 and _is_public(labels[place + 1 :]):
        kind = _NAMED.get(labels[place])
    return kind or _LISTED.get(host)


def _is_public(suffix: list[str]) -> bool:
    """`com`, `de`, `co.uk`: what may follow a site's name."""
    return len(suffix) == 1 or (len(suffix) == 2 and len(suffix[1]) == 2 and len(suffix[0]) <= 3)
