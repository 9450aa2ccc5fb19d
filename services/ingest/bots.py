"""Which user agents are nobody's: crawlers, previews, monitors, automated browsers. Pure, and remembered.

ua-parser's devices of the family `Spider`, and the list of crawler-user-agents, both but for HTTP libraries: what
`curl`, `requests` or Java's own client sends comes from somebody who holds the write key.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

LONGEST: Final = 512  # characters of a user agent that are looked at, and remembered
_TOGETHER: Final = 50  # patterns in one expression
_LIBRARY: Final = "http-library"
_OF_LANGUAGES: Final = re.compile(r"(?:Python-urllib|python-urllib3|Java)/\d")  # which ua-parser takes for spiders


def is_bot(user_agent: str) -> bool:
    """Whether a user agent is that of a bot; an empty one is not."""
    return _is_bot(user_agent[:LONGEST])


@lru_cache(maxsize=8192)
def _is_bot(user_agent: str) -> bool:
    return _is_spider(user_agent) or any(crawlers.search(user_agent) for crawlers in _crawlers())


def _is_spider(user_agent: str) -> bool:
    if _OF_LANGUAGES.match(user_agent):
        return False
    import ua_parser  # its rules take a quarter of a second to load: only where somebody asks

    device = ua_parser.parse_device(user_agent)
    return device is not None and device.family == "Spider"


@cache
def _crawlers() -> tuple[re.Pattern[str], ...]:
    import crawleruseragents

    rows = crawleruseragents.CRAWLER_USER_AGENTS_DATA
    patterns = [row["pattern"] for row in rows if _LIBRARY not in row.get("tags", ())]
    parts = (patterns[start : start + _TOGETHER] for start in range(0, len(patterns), _TOGETHER))
    return tuple(re.compile("|".join(part)) for part in parts)
