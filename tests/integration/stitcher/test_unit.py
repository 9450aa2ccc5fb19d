"""The unit of work on real PostgreSQL, method by method."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from services.stitcher.errors import Stale, Transient
from services.stitcher.journey.fold import Journey
from services.stitcher.journey.identity import Alias, Link, Span
from services.stitcher.ports import Changes, DeadLetter, Position, Profile, StoredRevocation, TouchpointRow
from services.stitcher.store import Store
from services.stitcher.store.rows import outbox_records
from shared.identifiers import uid
from shared.tables import OPEN, Visit
from tests.integration.stitcher.world import ask, tell, until


async def linked(store: Store, *pairs: tuple[str, str], degrees: dict[str, int] | None = None) -> None:
    """Links between identifiers, in one component."""
    counted: dict[str, int] = {}
    for lower, _ in pairs:
        counted[lower] = counted.get(lower, 0) + 1
    links = {pair: Link(*pair, Span(1, "m", 1, "m"), False) for pair in pairs}
    async with store.unit() as unit:
        await unit.lock({key for pair in pairs for key in pair}, pairs)
        await unit.write(Changes(links=links, degrees=counted | (degrees or {})))


async def components(database: str) -> dict[str, int]:
    """Key -> a number for its component, equal where components are."""
    rows = await ask(database, "select key, component from identifiers order by key")
    names = list(dict.fromkeys(row[1] for row in rows))
    return {key: names.index(component) for key, component in rows}


async def test_identifiers_are_new_once_and_their_own_profile(store: Store) -> None:
    async with store.unit() as unit:
        first = await unit.lock(["user_id:u1"], [])
    async with store.unit() as unit:
        again = await unit.lock(["user_id:u1"], [])
    assert (first["user_id:u1"].new, again["user_id:u1"].new) == (True, False)
    assert again["user_id:u1"].profile == uid("user_id:u1")


async def test_a_union_makes_one_component_of_old_and_new(store: Store, database: str) -> None:
    async with store.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2", "user_id:u3"], [])
    async with store.unit() as unit:
        await unit.lock(
            ["user_id:u1", "user_id:u2", "anonymous_id:a"],
            [("anonymous_id:a", "user_id:u1"), ("anonymous_id:a", "user_id:u2")],
        )
    found = await components(database)
    assert found["user_id:u1"] == found["user_id:u2"] == found["anonymous_id:a"] != found["user_id:u3"]


async def test_the_largest_component_keeps_its_name(store: Store, database: str) -> None:
    crowd = [f"user_id:u{n}" for n in range(20)]
    async with store.unit() as unit:
        await unit.lock(["device_id:kiosk", *crowd], [("device_id:kiosk", one) for one in crowd])
    ((before,),) = await ask(database, "select distinct component from identifiers")
    async with store.unit() as unit:
        await unit.lock(["user_id:late", "email:e"], [("email:e", "user_id:late")])
    async with store.unit() as unit:
        await unit.lock(["user_id:late", "device_id:kiosk"], [("device_id:kiosk", "user_id:late")])
    assert await ask(database, "select distinct component from identifiers") == [(before,)]


async def test_who_waits_for_a_component_gets_the_one_that_it_became_part_of(store: Store, database: str) -> None:
    async with store.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2"], [])
    async with store.unit() as first:
        await first.lock(["user_id:u1", "user_id:u2"], [("user_id:u1", "user_id:u2")])

        async def wait_for_it() -> None:
            async with store.unit() as second:
                await second.lock(["user_id:u1", "user_id:u3"], [("user_id:u3", "user_id:u1")])

        waiting = asyncio.create_task(wait_for_it())
        blocked = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        await until(lambda: ask(database, blocked))
    await waiting
    assert set((await components(database)).values()) == {0}


async def test_what_became_of_a_component_elsewhere_is_found_under_the_lock(store: Store, database: str) -> None:
    elsewhere = Store(store.pool, store.map_ids)
    async with store.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2"], [])
    async with elsewhere.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2"], [("user_id:u1", "user_id:u2")])
    async with store.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2", "card:c"], [("user_id:u1", "card:c")])
        (root,) = await ask(database, "select key from identifiers where uid in (select component from identifiers)")
        assert root not in await ask(database, "select key from identifiers for update skip locked")
    assert len(set((await components(database)).values())) == 1


async def test_identifiers_that_are_remembered_and_gone_are_made_again(store: Store, database: str) -> None:
    async with store.unit() as unit:
        await unit.lock(["user_id:u1"], [])
    await tell(database, "truncate identifiers")
    with pytest.raises(Transient):
        async with store.unit() as unit:
            await unit.lock(["user_id:u1"], [])
    async with store.unit() as unit:
        assert (await unit.lock(["user_id:u1"], []))["user_id:u1"].new


async def test_links_up_climb_but_not_through_shared_ones(store: Store) -> None:
    await linked(store, ("anonymous_id:a", "email:e"), ("email:e", "user_id:u"), ("device_id:d", "user_id:u"))
    await linked(store, ("anonymous_id:b", "device_id:d"), degrees={"device_id:d": 9})
    async with store.unit() as unit:
        found, links = await unit.links_up(["anonymous_id:a", "anonymous_id:b"], [], 5)
        assert {(link.lower, link.higher) for link in links} == {
            ("anonymous_id:a", "email:e"), ("email:e", "user_id:u"), ("anonymous_id:b", "device_id:d"),
        }  # fmt: skip
        assert found["device_id:d"].degree == 9
        _, named = await unit.links_up([], [("device_id:d", "user_id:u")], 5)
        assert [(link.lower, link.higher) for link in named] == [("device_id:d", "user_id:u")]


async def test_a_family_goes_down_then_up_and_stops_at_shared_ones(store: Store) -> None:
    await linked(store, ("anonymous_id:a", "user_id:u"), ("anonymous_id:a", "user_id:v"), ("card:k", "user_id:u"))
    await linked(store, ("anonymous_id:b", "card:k"), degrees={"card:k": 9})
    async with store.unit() as unit:
        family = await unit.family(["user_id:u"], 5)
        assert set(family.identifiers) == {"user_id:u", "user_id:v", "anonymous_id:a"}
        assert {link.higher for link in family.links} == {"user_id:u", "user_id:v"}
        assert "anonymous_id:b" in (await unit.family(["card:k"], 5)).identifiers


async def test_a_family_follows_aliases_both_ways(store: Store) -> None:
    await linked(store, ("email:e", "user_id:u3"))
    async with store.unit() as unit:
        await unit.lock(["user_id:u1", "user_id:u2", "user_id:u3"], [])
        given = [Alias("user_id:u1", "user_id:u2", 1, "m", False), Alias("user_id:u2", "user_id:u3", 1, "m", True)]
        aliased = {f"user_id:u{n}" for n in (1, 2, 3)}
        await unit.write(Changes(aliases={(one.a, one.b): one for one in given}, aliased=aliased))
    async with store.unit() as unit:
        assert sorted((a.a, a.b) for a in await unit.aliases(["user_id:u3"])) == [(a.a, a.b) for a in given]
        assert "email:e" in (await unit.family(["user_id:u1"], 5)).identifiers


async def test_evidence_keeps_the_earliest_and_the_latest_and_of_equal_times_the_smaller_id(store: Store) -> None:
    pair, hour = ("anonymous_id:a", "user_id:u"), ("anonymous_id:a", "user_id:u", 0)
    async with store.unit() as unit:
        await unit.lock(pair, [pair])
        for time, touchpoint_id in ((5, "m5"), (3, "m3"), (5, "m4"), (3, "m9"), (4, "m0")):
            span = Span.at(time, touchpoint_id)
            await unit.write(Changes(links={pair: Link(*pair, span, time == 4)}, hours={hour: span}))
    async with store.unit() as unit:
        _, (link,) = await unit.links_up(pair[:1], [], 5)
        assert await unit.hours(pair[:1]) == {hour: Span(3, "m3", 5, "m4")}
    assert (link.span, link.revoked) == (Span(3, "m3", 5, "m4"), True)


async def test_revocations_are_found_by_id_and_by_pair(store: Store) -> None:
    one, alone = uuid4(), uuid4()
    pair = ("anonymous_id:a", "user_id:u")
    async with store.unit() as unit:
        await unit.lock(pair, [])
        given = {
            one: StoredRevocation(one, "link", *pair, "wrong", 7, None),
            alone: StoredRevocation(alone, None, None, None, "", None, 9),
        }
        await unit.write(Changes(revocations=given))
        assert await unit.revocations([], [pair]) == {one: given[one]}
        assert await unit.revocations([alone, one], []) == given


def row(id_: str, data: bytes = b"{}", time: int = 5, traits: bool = False) -> TouchpointRow:
    return TouchpointRow("user_id:u", id_, time, 7, traits, data)


U = "user_id:u"


async def test_a_touchpoint_is_stored_once_and_the_first_row_comes_back(store: Store) -> None:
    async with store.unit() as unit:
        await unit.lock([U], [])
        assert await unit.insert_touchpoints([row("m1"), row("m2")], []) == []
    async with store.unit() as unit:
        again = [row("m3"), row("m2", b"other"), row("m1")]
        assert await unit.insert_touchpoints(again, [(U, "m1"), (U, "m2"), (U, "m3")]) == [row("m1"), row("m2")]
        await unit.replace_touchpoints([row("m2", b"better")])
        assert row("m2", b"better") in await unit.touchpoints({U: None})


async def test_a_touchpoint_that_nobody_suspected_is_stored_once_all_the_same(store: Store) -> None:
    async with store.unit() as unit:
        await unit.lock([U], [])
        await unit.insert_touchpoints([row("m1"), row("m2")], [])
    async with store.unit() as unit:
        again = [row("m2", b"other"), row("m1", b"other"), row("m3")]
        assert await unit.insert_touchpoints(again, [(U, "m2")]) == [row("m1"), row("m2")]
    async with store.unit() as unit:
        assert await unit.touchpoints({U: None}) == [row("m1"), row("m2"), row("m3")]


async def test_touchpoints_are_read_from_an_instant_on_and_by_traits(store: Store) -> None:
    async with store.unit() as unit:
        await unit.lock(["user_id:u"], [])
        await unit.insert_touchpoints([row("early", time=1), row("late", time=9, traits=True)], [])
        assert [one.id for one in await unit.touchpoints({"user_id:u": 2})] == ["late"]
        assert [one.id for one in await unit.trait_touchpoints(["user_id:u"])] == ["late"]


async def test_a_profile_comes_back_as_it_was(store: Store) -> None:
    traits = {"tier": (3, "m1", "gold"), "deep": (4, "m2", {"a": [1, None, 2.5]})}
    given = Profile(uid("user_id:u"), "user_id:u", 3, 99, traits, {1: uuid4(), 2: uuid4()}, 12)
    async with store.unit() as unit:
        await unit.lock(["user_id:u"], [])
        await unit.write(Changes(profiles={given.profile_id: given}))
        assert await unit.profiles([given.profile_id]) == {given.profile_id: given}


def walk(stages: int) -> Journey:
    """A journey with so many visits."""
    visits = [Visit(n % 3, n, f"m{n}", n) for n in range(stages)]
    return Journey(
        uid("j"), 1, "web", "", "s", 0, stages - 1, None, (), visits, 2, 0b111, stages, counted=(OPEN, False, None)
    )


async def test_old_visits_are_written_once_and_read_where_they_are_wanted(store: Store, database: str) -> None:
    journey, me = walk(20), uid("user_id:u1")
    async with store.unit() as unit:
        await unit.write(Changes(journeys={journey.journey_id: (me, journey)}))
    async with store.unit() as unit:
        ((_, going_on),) = (await unit.journeys([journey.journey_id])).values()
        going_on.visits += [Visit(n % 3, n, f"m{n}", n) for n in range(20, 30)]
        await unit.write(Changes(journeys={journey.journey_id: (me, going_on)}))
    async with store.unit() as unit:
        ((_, tail),) = (await unit.journeys([journey.journey_id])).values()
        ((_, whole),) = (await unit.journeys([journey.journey_id], whole=True)).values()
    assert (tail.first, tail.sealed, tail.visits) == (16, 16, walk(30).visits[16:])
    assert (whole.first, whole.sealed, whole.visits) == (0, 16, walk(30).visits)
    assert await ask(database, "select first from visit_blocks order by first") == [(0,), (8,)]


async def test_visits_that_are_to_be_written_again_leave_their_blocks(store: Store, database: str) -> None:
    journey, me = walk(40), uid("user_id:u1")
    async with store.unit() as unit:
        await unit.write(Changes(journeys={journey.journey_id: (me, journey)}))
    shorter = walk(12)
    shorter.sealed = 8
    async with store.unit() as unit:
        await unit.write(Changes(journeys={journey.journey_id: (me, shorter)}, unsealed={journey.journey_id: 8}))
    async with store.unit() as unit:
        ((_, whole),) = (await unit.journeys([journey.journey_id], whole=True)).values()
    assert (whole.sealed, whole.visits) == (8, walk(12).visits)
    async with store.unit() as unit:
        await unit.write(Changes(gone={journey.journey_id}))
    assert await ask(database, "select from visit_blocks") == []


async def test_an_exception_undoes_everything(store: Store, database: str) -> None:
    async def half() -> None:
        async with store.unit() as unit:
            await unit.lock(["user_id:u"], [])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half()
    assert await ask(database, "select key from identifiers") == []


async def test_the_fence_moves_offsets_only_under_the_epoch_in_force(store: Store) -> None:
    mine = (await store.claim("touchpoints", [0, 1], "one"))[0]
    async with store.unit() as unit:
        await unit.fence("touchpoints", {0: Position(mine.epoch, 0, 10, 10, as_of=5)})
    assert (await store.claim("touchpoints", [0], "other"))[0].next_offset == 10
    for epoch, expected in ((mine.epoch, 10), (mine.epoch + 1, 9)):
        with pytest.raises(Stale):
            async with store.unit() as unit:
                await unit.fence("touchpoints", {0: Position(epoch, expected, 20, 20)})


async def test_as_of_never_goes_back(store: Store, database: str) -> None:
    epoch = (await store.claim("touchpoints", [0], "one"))[0].epoch
    for next_offset, as_of in ((1, 50), (2, 40), (3, None)):
        async with store.unit() as unit:
            await unit.fence("touchpoints", {0: Position(epoch, next_offset - 1, next_offset, 9, as_of)})
    asked = "select next_offset, as_of from partitions where topic = 'touchpoints' and partition = 0"
    assert await ask(database, asked) == [(3, 50)]


async def test_a_dead_letter_is_kept_and_counted_once(store: Store, database: str) -> None:
    letters = [DeadLetter(0, offset, "shop", "undecodable", "why", b"\x00\xff") for offset in (4, 5)]
    for _ in range(2):
        async with store.unit() as unit:
            await unit.bury("touchpoints", letters, 1)
    assert await ask(database, "select n from dead_letter_counts") == [(2,)]
    assert await ask(database, 'select "offset", data from dead_letters order by 1') == [
        (4, b"\x00\xff"), (5, b"\x00\xff"),
    ]  # fmt: skip


async def test_changes_lie_in_the_outbox_in_the_order_they_were_told(store: Store, database: str) -> None:
    told = [(UUID(int=n % 3), str(n).encode()) for n in range(600)]
    async with store.unit() as unit:
        await unit.write(Changes(outbox=told))
    packs = await ask(database, "select records from outbox order by position")
    assert [one for (pack,) in packs for one in outbox_records(pack)] == [(str(key), record) for key, record in told]


def test_what_an_earlier_version_left_in_the_outbox_can_be_read() -> None:
    assert outbox_records(msgspec.msgpack.encode([("key", b"record")])) == [("key", b"record")]
