"""Map versions: what is configured is live, changed behaviour needs a new version, other workers notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.stitcher.errors import Misconfigured, Stale
from services.stitcher.ports import Position
from services.stitcher.registry import still_live
from services.stitcher.replay import replay
from services.stitcher.settings import StitcherSettings
from tests.integration.stitcher.world import SHOP, Told, ask, config, live, opened, problems, take
from tests.support.builders import touchpoint

SECOND = SHOP.replace("version: 1", "version: 2").replace("timeout: 1d", "timeout: 2d")


async def test_a_map_is_registered_once(database: str) -> None:
    first, again = await live(database), await live(database)
    assert [plan.map_id for plan in first] == [plan.map_id for plan in again]
    assert await ask(database, "select map, version, live from map_versions") == [("shop", 1, True)]


async def test_a_changed_map_under_an_old_version_is_refused_in_a_sentence(database: str) -> None:
    await live(database)
    with pytest.raises(
        Misconfigured,
        match="give the changed map the next version, or put",
    ):
        await live(database, SHOP.replace("timeout: 1d", "timeout: 2d"))
    assert await ask(database, "select live from map_versions") == [(True,)]


async def test_a_replay_takes_a_changed_map_over(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path, SHOP.replace("event: B", "event: [A, B]"))
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A")])
        await replay(StitcherSettings(database_url=database, throughline_config=folder), Told())
        with pytest.raises(Misconfigured):
            await still_live(store.pool, plans)
    assert await ask(database, "select stage from journeys") == [(1,)]
    assert await problems(database, folder) == []
    await live(database, SHOP.replace("event: B", "event: [A, B]"))


async def test_what_is_only_for_people_may_change(database: str) -> None:
    await live(database)
    await live(database, SHOP.replace("version: 1", "version: 1\ntitle: The shop"))
    ((definition,),) = await ask(database, "select definition from map_versions")
    assert json.loads(definition)["title"] == "The shop"


async def test_exactly_what_is_configured_is_live(database: str) -> None:
    await live(database, SHOP, SECOND)
    await live(database, SECOND)
    assert await ask(database, "select version, live from map_versions order by 1") == [(1, False), (2, True)]


async def test_a_version_that_comes_back_has_what_came_meanwhile(database: str) -> None:
    plans = await live(database)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A")])
    later = await live(database, SECOND)
    async with opened(database, later) as store:
        await take(store, later, [touchpoint(1, "B")])
    await live(database)
    counted = "select touchpoints from journeys where map_id = $1"
    assert await ask(database, counted, plans[0].map_id) == [(2,)]
    assert await ask(database, "select due_at from journeys where map_id = $1", later[0].map_id) == [(None,)]


async def test_other_live_maps_fence_running_workers_which_then_say_so(database: str) -> None:
    plans = await live(database)
    async with opened(database, plans) as store:
        epoch = (await store.claim("touchpoints", [0], "one"))[0].epoch
        await live(database, SHOP, SECOND)
        with pytest.raises(Stale):
            async with store.unit() as unit:
                await unit.fence("touchpoints", {0: Position(epoch, 0, 1, 1)})
        with pytest.raises(Misconfigured, match="other journey maps"):
            await still_live(store.pool, plans)
