"""Which maps there are: versions, stages, rules, targets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from services.metrics.analysis.cursors import MapCursor, encode
from services.metrics.api.access import METRICS
from services.metrics.api.answers import MapAnswer, MapsAnswer, StageAnswer
from services.metrics.api.compose import version_answer
from services.metrics.api.pages import place_of
from services.metrics.api.parameters import PagesQuery, Parameters
from services.metrics.api.room import InRoom, pick_version
from services.metrics.reader.catalogue import Catalogue, MapVersion
from shared.touchpoint import moment

router = APIRouter(tags=["maps"], dependencies=[METRICS])


class Versions(Parameters):
    """Which version of a map."""

    version: int | None = Field(None, description="Version of the map; the newest that is live if not given.")


@router.get("/v1/maps")
async def list_maps(room: InRoom, page: PagesQuery) -> MapsAnswer:
    """All maps by name, each in its newest live version."""
    catalogue = await room.catalogues.get()
    place = place_of(MapCursor, page.cursor)
    after = [one for one in catalogue.newest() if place is None or one.name > place.name]
    shown = after[: page.limit]
    return MapsAnswer(
        data=[map_answer(catalogue, one) for one in shown],
        next_cursor=encode(MapCursor(shown[-1].name)) if len(after) > len(shown) else None,
    )


@router.get("/v1/maps/{map}")
async def show_map(room: InRoom, map: str, wanted: Annotated[Versions, Query()]) -> MapAnswer:
    """One map with its stages, rules and targets."""
    catalogue = await room.catalogues.get()
    return map_answer(catalogue, pick_version(catalogue, map, wanted.version))


def map_answer(catalogue: Catalogue, version: MapVersion) -> MapAnswer:
    """A version with everything that its definition says."""
    definition = version.definition.model_dump(mode="json", by_alias=True)
    stages = [StageAnswer(position=place, **_said(stage)) for place, stage in enumerate(definition.pop("stages"))]
    definition["goal"] = [_given(rule) for rule in definition["goal"]]
    definition["experience"] = [_given(rule) for rule in definition["experience"]]
    return MapAnswer(
        **definition,
        live=version.live,
        live_since=moment(version.live_since),
        stages=stages,
        versions=[version_answer(one) for one in catalogue.versions if one.name == version.name],
    )


def _said(stage: dict[str, Any]) -> dict[str, Any]:
    return stage | {"when": [_given(rule) for rule in stage["when"]]}


def _given(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule without what it does not ask for."""
    return {key: value for key, value in rule.items() if value is not None and value != {}}
