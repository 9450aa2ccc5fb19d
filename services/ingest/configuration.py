"""What `sources.yaml` and `readers.yaml` say, as requests need it: made whole, and replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from services.ingest.admins import Admins
from services.ingest.dialects.dialect import Dialect
from services.ingest.policy import Policy
from services.ingest.routes import routes
from services.ingest.sources import Senders
from shared.keys import Reader, Source


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who may send, who may command, and what is spoken where. A request is worked on with one of these to its end."""

    senders: Senders
    admins: Admins
    routes: Mapping[str, Dialect]


def configuration(
    sources: Sequence[Source], readers: Sequence[Reader], now: Callable[[], datetime],
    before: Configuration | None = None, policy_of: Callable[[Source], Policy] = Policy,
    hooks: Mapping[str, Dialect] = MappingProxyType({}),
) -> Configuration:  # fmt: skip
    """Rates that did not change go on as they stand in the configuration ``before``. ``hooks``: the dialects of those
    sources that take webhooks, by name."""
    senders = Senders(sources, now, before.senders if before else None, policy_of)
    return Configuration(senders, Admins(readers, now), routes(hooks))
