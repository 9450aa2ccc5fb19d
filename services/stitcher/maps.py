"""The map versions in the tables, ready for folding."""

from __future__ import annotations

import json
from typing import Any

from services.stitcher.journey.rules import Plan
from shared.journey_map import JourneyMap


async def live_plans(connection: Any) -> list[Plan]:
    """Those that are live, by name and version."""
    rows = await connection.fetch("select map_id, definition from map_versions where live order by map, version")
    return [Plan(map_id, JourneyMap.model_validate(json.loads(definition))) for map_id, definition in rows]
