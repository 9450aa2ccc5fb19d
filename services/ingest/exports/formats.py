"""Which tool a file is from, by its first records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from services.ingest.exports import amplitude, ga4, mixpanel, plain, posthog, segment
from services.ingest.exports.export import Export

EXPORTS: Final[dict[str, Export]] = {  # tried in this order: the ones with names of their own first
    export.name: export
    for export in (ga4.EXPORT, amplitude.EXPORT, mixpanel.EXPORT, posthog.EXPORT, segment.EXPORT, plain.EXPORT)
}


def recognised(records: Iterable[Any]) -> Export | None:
    """What most of the records are; the first in the list if two are as many; None if nothing is known of any."""
    found = Counter(name for record in records if isinstance(record, dict) and (name := _name(record)) is not None)
    return EXPORTS[max(EXPORTS, key=lambda name: found[name])] if found else None


def _name(record: dict[str, Any]) -> str | None:
    return next((export.name for export in EXPORTS.values() if export.holds(record)), None)
