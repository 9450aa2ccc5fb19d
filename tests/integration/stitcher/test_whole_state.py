"""Verify, replay and digest on real tables: one state, however it came about."""

from __future__ import annotations

import random
from pathlib import Path

from services.stitcher.replay import replay
from services.stitcher.settings import StitcherSettings
from shared.touchpoint import Touchpoint
from tests.integration.stitcher.world import SHOP, Told, ask, config, live, opened, problems, state, take, tell
from tests.support.builders import alias, touchpoint

OTHER = SHOP.replace("map: shop", "map: other").replace("timeout: 1d", "timeout: 2h")


def history(seed: int, n: int = 300, people: int = 15) -> list[Touchpoint]:
    """Touchpoints of people who share devices, log in late, and have several names."""
    random_ = random.Random(seed)
    found = []
    for _ in range(n):
        one, other = (random_.randrange(people) for _ in range(2))
        who = random_.choice([
            f"user_id:u{one}", f"anonymous_id:a{one}", f"user_id:u{one} anonymous_id:a{other}",
            f"email:e{one} anonymous_id:a{one}", f"user_id:u{one} email:e{one}",
        ])  # fmt: skip
        hour = random_.random() * 100
        if random_.random() < 0.03:
            found.append(alias(hour, f"u{one}", f"u{other}"))
        elif random_.random() < 0.1:
            traits = {"tier": random_.choice(["gold", "tin"])}
            found.append(touchpoint(hour, None, who, type="identify", traits=traits))
        else:
            event = random_.choice(["A", "A", "B", "C", "Goal", "Survey", "nothing"])
            found.append(touchpoint(hour, event, who, properties={"value": 2.5, "rating": 4}))
    return found


async def test_what_is_stitched_verifies_and_any_order_has_the_same_digest(database: str, tmp_path: Path) -> None:
    plans, folder, sent = await live(database, SHOP, OTHER), config(tmp_path, SHOP, OTHER), history(1)
    digests = []
    for seed in (1, 2):
        random.Random(seed).shuffle(sent)
        async with opened(database, plans) as store:
            for start in range(0, len(sent), 40):
                await take(store, plans, sent[start : start + 40 + seed])
        assert await problems(database, folder) == []
        digests.append(await state(database))
        await tell(database, "truncate touchpoints, identifiers, links, link_hours, aliases, profiles, journeys,"
                             " visit_blocks, rollup_cohort, rollup_flow, cells, outbox")  # fmt: skip
    assert digests[0] == digests[1]


async def test_replay_rebuilds_what_was_spoilt(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        for start in range(0, 300, 50):
            await take(store, plans, history(2)[start : start + 50])
    before = await state(database)
    await tell(database, "update journeys set furthest = 0, value = 7")
    await tell(database, "delete from rollup_flow where to_stage = 1")
    await tell(database, "update identifiers set profile = uid, degree = 9")
    await tell(database, "update profiles set touchpoints = 1")
    assert await problems(database, folder)
    await replay(StitcherSettings(database_url=database, throughline_config=folder), Told())
    assert await problems(database, folder) == []
    assert await state(database) == before


async def test_verify_names_the_journey_and_the_number_that_differ(database: str, tmp_path: Path) -> None:
    plans, folder = await live(database), config(tmp_path)
    async with opened(database, plans) as store:
        await take(store, plans, [touchpoint(0, "A"), touchpoint(1, "B")])
    await tell(database, "update journeys set last_at = last_at + 1")
    (problem,) = await problems(database, folder)
    assert "last_at" in problem
    assert "user_id:u1" in problem


async def test_a_map_that_goes_live_later_is_built_from_what_is_there(database: str, tmp_path: Path) -> None:
    plans, sent = await live(database), history(3)
    async with opened(database, plans) as store:
        await take(store, plans, sent)
    both = await live(database, SHOP, OTHER)
    assert await problems(database, config(tmp_path, SHOP, OTHER)) == []
    assert await ask(database, "select count(*) > 0 from journeys where map_id = $1", both[0].map_id) == [(True,)]
    async with opened(database, both) as store:
        await take(store, both, history(4))
    assert await problems(database, config(tmp_path, SHOP, OTHER)) == []
