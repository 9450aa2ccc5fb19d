"""What every question needs at hand, and how its parameters become a question that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.metrics.analysis.windows import Window, widen
from services.metrics.api.access import Access
from services.metrics.api.parameters import Cuts
from services.metrics.errors import Problem, invalid, not_allowed
from services.metrics.live import Live
from services.metrics.reader.catalogue import Catalogue, Catalogues, MapVersion
from services.metrics.reader.database import Database
from services.metrics.reader.rollups import Cut
from shared.identifiers import IdentityRules

Clock = Callable[[], int]
"""Answers the present instant in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: one version of one map, a range of whole hours, some of its journeys."""

    version: MapVersion
    window: Window
    cut: Cut


@dataclass(frozen=True, slots=True)
class Room:
    """The collaborators of the API."""

    database: Database
    catalogues: Catalogues
    access: Access
    rules: IdentityRules
    live: Live
    clock: Clock

    async def question(self, name: str, cuts: Cuts) -> Question:
        """The parameters against what there is; Problem names what is allowed."""
        catalogue = await self.catalogues.get()
        version = pick_version(catalogue, name, cuts.version)
        _check_names(catalogue, version, cuts)
        if cuts.from_ is not None and cuts.to is not None and cuts.to < cuts.from_:
            raise invalid("to", "must not be before from")
        return Question(
            version,
            widen(cuts.from_, cuts.to, version.definition.zone),
            Cut(version.map_id, cuts.segment or "", cuts.channel, cuts.acquisition, cuts.source),
        )


def pick_version(catalogue: Catalogue, name: str, wanted: int | None) -> MapVersion:
    """The wanted live version of a map, the newest if none is wanted."""
    versions = catalogue.live(name)
    if not versions:
        known = ", ".join(one.name for one in catalogue.newest()) or "none"
        raise Problem("map_unknown", f"no map {name!r}; there are {known}")
    if wanted is None:
        return versions[0]
    for one in versions:
        if one.version == wanted:
            return one
    raise not_allowed("version", wanted, [one.version for one in versions])


def _check_names(catalogue: Catalogue, version: MapVersion, cuts: Cuts) -> None:
    segments = sorted(version.definition.segments)
    if cuts.segment is not None and cuts.segment not in segments:
        raise not_allowed("segment", cuts.segment, segments)
    if cuts.source is not None and cuts.source not in catalogue.sources:
        raise not_allowed("source", cuts.source, sorted(catalogue.sources))


async def room(request: Request) -> Room:
    """The room of the app that was asked."""
    found: Room = request.app.state.room
    return found


InRoom = Annotated[Room, Depends(room)]
