"""What `sources.yaml` and `readers.yaml` say, as requests need it: made whole, and replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from services.ingest.admins import Admins
from services.ingest.dialects.dialect import Dialect
from services.ingest.hook_files import environment, load_hooks
from services.ingest.policies import load_policies
from services.ingest.policy import Policy
from services.ingest.routes import routes
from services.ingest.settings import IngestSettings
from services.ingest.sources import Senders
from shared.identifiers import load_identity
from shared.keys import Reader, Source, load_readers, load_sources


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who may send, who may command, and what is spoken where. Never changed, only replaced."""

    sources: Sequence[Source]
    readers: Sequence[Reader]
    senders: Senders
    admins: Admins
    routes: Mapping[str, Dialect]


def read_configuration(
    settings: IngestSettings, now: Callable[[], datetime], before: Configuration | None = None
) -> Configuration:
    """What the files say now; ValueError in a sentence if that cannot be."""
    folder = settings.throughline_config
    sources, readers = load_sources(folder), load_readers(folder)
    policies = load_policies(sources, folder, settings.throughline_hash_key)
    hooks = load_hooks(sources, folder, load_identity(folder), environment(), now)
    return configuration(sources, readers, now, before, policy_of=lambda source: policies[source.name], hooks=hooks)


def configuration(
    sources: Sequence[Source], readers: Sequence[Reader], now: Callable[[], datetime],
    before: Configuration | None = None, policy_of: Callable[[Source], Policy] = Policy,
    hooks: Mapping[str, Dialect] = MappingProxyType({}),
) -> Configuration:  # fmt: skip
    """Rates that did not change go on as they stand in the configuration ``before``. ``hooks``: the dialects of those
    sources that take webhooks, by name."""
    senders = Senders(sources, now, before.senders if before else None, policy_of)
    return Configuration(sources, readers, senders, Admins(readers, now), routes(hooks))
