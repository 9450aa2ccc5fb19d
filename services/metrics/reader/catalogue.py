"""The journey maps and sources there are, read at most once a second however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from services.metrics.reader.database import Database
from shared.journey_map import JourneyMap

KEPT_SECONDS: Final = 1.0

# Every version of every map, newest first.
MAP_VERSIONS = """
    select map_id, version, definition, live, live_since
    from map_versions
    order by map, version desc
"""

# Every source that a journey has come from, whether or not it is still configured.
SOURCES = "select distinct source from cells"


@dataclass(frozen=True, slots=True)
class MapVersion:
    """One version of a map; ``live_since`` in microseconds."""

    map_id: int
    definition: JourneyMap
    live: bool
    live_since: int

    @property
    def name(self) -> str:
        return self.definition.map

    @property
    def version(self) -> int:
        return self.definition.version


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be asked about."""

    versions: tuple[MapVersion, ...]
    sources: frozenset[str]

    def live(self, name: str) -> list[MapVersion]:
        """The live versions of a map, newest first."""
        return [one for one in self.versions if one.live and one.name == name]

    def newest(self) -> list[MapVersion]:
        """The newest live version of each map, by name."""
        first: dict[str, MapVersion] = {}
        for one in self.versions:
            if one.live:
                first.setdefault(one.name, one)
        return [first[name] for name in sorted(first)]

    def by_id(self) -> dict[int, MapVersion]:
        return {one.map_id: one for one in self.versions}


class Catalogues:
    """Keeps the catalogue for a moment; those who ask while it is read wait for the same reading."""

    def __init__(self, database: Database, configured: Sequence[str], clock: Callable[[], float]) -> None:
        self._database, self._configured, self._clock = database, frozenset(configured), clock
        self._kept: tuple[float, Catalogue] | None = None
        self._parsed: dict[str, JourneyMap] = {}
        self._reading = asyncio.Lock()

    async def get(self) -> Catalogue:
        asked = self._clock()
        if self._kept is None or asked - self._kept[0] >= KEPT_SECONDS:
            async with self._reading:
                if self._kept is None or asked - self._kept[0] >= KEPT_SECONDS:
                    began = self._clock()
                    self._kept = (began, await self._read())
        return self._kept[1]

    async def _read(self) -> Catalogue:
        async with self._database.snapshot() as snapshot:
            rows = await snapshot.fetch(MAP_VERSIONS)
            sources = await snapshot.fetch(SOURCES)
        return Catalogue(
            tuple(
                MapVersion(row["map_id"], self._parse(row["definition"]), row["live"], row["live_since"])
                for row in rows
            ),
            self._configured | {row["source"] for row in sources},
        )

    def _parse(self, definition: str) -> JourneyMap:
        if definition not in self._parsed:
            self._parsed[definition] = JourneyMap.model_validate(msgspec.json.decode(definition))
        return self._parsed[definition]
