"""The snippet as it is served, made of its source: `python -m tests.support.minified` writes it."""

from __future__ import annotations

from typing import Final

import minify

from services.ingest.web.pages import HERE

SOURCE: Final = HERE / "t.js"
SERVED: Final = HERE / "t.min.js"


def minified() -> str:
    """What should be served: names and blanks are shortened, nothing else is done."""
    text: str = minify.string("text/javascript", SOURCE.read_text(encoding="utf-8"))
    return text + "\n"


if __name__ == "__main__":
    SERVED.write_text(minified(), encoding="utf-8")
