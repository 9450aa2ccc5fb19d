"""Which dialect is spoken on which path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.ingest.dialects import cloudevents, jitsu, pixel, posthog, segment, snowplow
from services.ingest.dialects.dialect import Dialect
from services.ingest.dialects.hooks import PATH


def with_slashes(routes: dict[str, Dialect]) -> dict[str, Dialect]:
    """With and without a trailing slash: a redirect turns a POST into a GET and loses its body."""
    return {path + slash: dialect for path, dialect in routes.items() for slash in ("", "/")}


ROUTES: Final = with_slashes(
    segment.ROUTES | posthog.ROUTES | jitsu.ROUTES | pixel.ROUTES | snowplow.ROUTES | cloudevents.ROUTES
)


def routes(hooks: Mapping[str, Dialect]) -> Mapping[str, Dialect]:
    """By path the dialect; webhooks have a path for each source that takes them, by its name."""
    return ROUTES | with_slashes({f"{PATH}{source}": dialect for source, dialect in hooks.items()})
