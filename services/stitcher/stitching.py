"""One batch: lock, resolve identity, fold, write. Asks the unit of work for what the pure core needs, in order."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from uuid import UUID

from services.stitcher.journey.batch import Batch, first_received, pair_of
from services.stitcher.journey.changes import Change, changes, moved, records
from services.stitcher.journey.evidence import Evidence, changed, downwards, with_batch
from services.stitcher.journey.facts import Counted, State, add_difference, add_restated, state_of
from services.stitcher.journey.fold import Journey, resume
from services.stitcher.journey.identity import FOREVER, Ladder, Link, Pair
from services.stitcher.journey.profile import Traits, fold_on, plain, rising, traits_before, with_traits
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import Touch, by_time, decode_touch
from services.stitcher.ports import Changes, Identifier, Profile, StoredRevocation, Unit
from shared import identifiers
from shared.identifiers import IdentityRules
from shared.tables import OPEN
from shared.touchpoint import micros

Owned = tuple[Profile, Journey]  # the profile as it was before the batch
ANY_DEGREE = 2**31 - 1  # a degree that nothing exceeds
BREATH = 500  # profiles folded without a pause: heartbeats and questions after our health are not to wait for a batch


@dataclass(slots=True)
class Outcome:
    """What a batch did, for telemetry. ``refolds`` by cause: late, link, copy; ``bots``: touchpoints left out."""

    stitched: int = 0
    duplicates: int = 0
    bots: int = 0
    refolds: Counter[str] = field(default_factory=Counter)
    received_at: list[int] = field(default_factory=list)


@lru_cache(maxsize=500_000)
def uid(key: str) -> UUID:
    """`shared.identifiers.uid`, remembered."""
    return identifiers.uid(key)


async def stitch(
    unit: Unit, batch: Batch, plans: Sequence[Plan], rules: IdentityRules, clock: int, now: int
) -> Outcome:
    """Takes a batch into the tables through one unit of work. ``clock`` is the instant up to which time has closed
    journeys, ``now`` the worker's; both in microseconds."""
    return await _Stitching(unit, batch, plans, rules, clock, now).run()


class _Stitching:
    """The state of one batch on its way; each method is one step, called in the order of `run`."""

    def __init__(
        self, unit: Unit, batch: Batch, plans: Sequence[Plan], rules: IdentityRules, clock: int, now: int
    ) -> None:
        self.unit, self.batch, self.plans, self.rules = unit, batch, plans, rules
        self.clock, self.now = clock, now
        self.changes = Changes()
        self.outcome = Outcome()
        self.known: dict[str, Identifier] = {}
        self.commands: set[UUID] = set()
        self.named: set[Pair] = set()
        self.in_force: dict[Pair, bool] = {}
        self.before, self.after = Evidence(), Evidence()
        self.ladder = self.after.ladder(rules)
        self.profiles: dict[UUID, Profile | None] = {}
        self.elsewhere: Mapping[str, int | None] = {}  # identifiers that may climb elsewhere now, from when on
        self.speaking: set[str] = set()  # roots that a touchpoint said something about
        self.affected: dict[str, int] = {}  # root -> the earliest instant at which its touchpoints change
        self.causes: dict[str, str] = {}
        self.gained: Counter[str] = Counter()  # root -> touchpoints more or less than before, but for arrivals
        self.arrivals: defaultdict[str, list[Touch]] = defaultdict(list)
        self.journeys_before: dict[UUID, Owned] = {}  # of profiles that are folded again, by journey
        self.journeys_after: dict[UUID, Owned] = {}

    async def run(self) -> Outcome:
        pairs = self.batch.pairs
        await self._lock(pairs)
        await self._load_evidence(pairs)
        self.in_force = await self._in_force(pairs)
        self._add_batch()
        fresh, replaced = await self._store_touchpoints()
        lowers = {lower for lower, _ in {*pairs, *self.in_force}}
        new = {key: one.new for key, one in self.known.items()}
        elsewhere = changed(self.before, self.after, lowers, new, pairs, self.rules)
        if elsewhere:
            await self._load_family({*elsewhere, *(h for (low, h) in self.after.links if low in elsewhere)})
            await self._move(elsewhere, {(touch.key, touch.id) for touch in [*fresh, *(t for _, t in replaced)]})
        self._arrive(fresh, replaced)
        await self._fold()
        self._write_identity(pairs)
        await self.unit.write(self.changes)
        return self.outcome

    # --- Identity ----------------------------------------------------------------------------------------------------

    async def _lock(self, pairs: Iterable[Pair]) -> None:
        """Locks all that the batch touches, what its commands name included."""
        batch = self.batch
        self.commands = {UUID(one.id) for one in batch.revocations} | {UUID(one.id) for one in batch.withdrawals}
        stored = await self.unit.revocations(self.commands, ()) if self.commands else {}
        self.named = {pair_of(command) for command in batch.revocations}
        self.named |= {(r.lower, r.higher) for r in stored.values() if r.lower is not None and r.higher is not None}
        keys = batch.keys | {key for pair in self.named for key in pair}
        self.known = await self.unit.lock(keys, [*pairs, *batch.aliases, *self.named])

    async def _in_force(self, pairs: Iterable[Pair]) -> dict[Pair, bool]:
        """Whether a revocation is in force, of the pairs that commands name and of those seen for the first time."""
        unseen = {pair for pair in pairs if pair not in self.before.links}
        unseen |= {pair for pair in self.batch.aliases if pair not in self.before.aliases}
        suspects = self.named | unseen
        if not suspects and not self.commands:
            return {}
        rows = with_commands(await self.unit.revocations(self.commands, suspects), self.batch)
        self.changes.revocations = {id_: rows[id_] for id_ in self.commands}
        active = {(r.lower, r.higher) for r in rows.values() if r.revoked_at is not None and r.withdrawn_at is None}
        return {pair: pair in active for pair in suspects}

    async def _load_evidence(self, pairs: Iterable[tuple[str, str]]) -> None:
        wanted = {*pairs, *self.named}
        lowers = {key for key in self.known if not key.startswith("user_id:")}
        found, links = await self.unit.links_up(lowers, wanted, self.rules.shared_above) if lowers else ({}, [])
        self._learn(found, links)
        parting = self._parting()
        if parting:
            self._learn(*await self.unit.links_up(parting, (), ANY_DEGREE))
        await self._load_details()

    def _parting(self) -> set[str]:
        """Shared identifiers that the batch's commands may make somebody's own again: then all their links matter."""
        named = Counter(lower for lower, _ in self.named)
        shared_above = self.rules.shared_above
        return {
            lower
            for lower, n in named.items()
            if lower in self.known and shared_above < self.known[lower].degree <= shared_above + n
        }

    def _learn(self, found: Mapping[str, Identifier], links: Iterable[Link]) -> None:
        """Adds identifiers and links as they are in the tables to what was known before the batch."""
        for key, identifier in found.items():
            self.known.setdefault(key, identifier)
        for link in links:
            self.before.links[link.lower, link.higher] = link
        self.before.degrees = {key: one.degree for key, one in self.known.items() if one.degree}

    async def _load_details(self) -> None:
        """The hours of those with several targets, and the aliases of those who have any."""
        targets = defaultdict(set)
        for lower, higher in [*self.before.links, *self.batch.pairs]:
            targets[lower].add(higher)
        loaded = {lower for lower, _, _ in self.before.hours}
        several = {lower for lower, highers in targets.items() if len(highers) > 1} - loaded
        several = {key for key in several if key not in self.known or not self.known[key].new}
        if several:
            self.before.hours |= await self.unit.hours(several)
        users = {key for key, one in self.known.items() if one.aliased} | {
            k for pair in self.batch.aliases for k in pair
        }
        if users:
            for alias in await self.unit.aliases(users):
                self.before.aliases[alias.a, alias.b] = alias

    async def _load_family(self, keys: Iterable[str]) -> None:
        """All identifiers and links that a change of these may concern; before and after."""
        family, known = await self.unit.family(keys, self.rules.shared_above), self._size()
        self._learn(family.identifiers, family.links)
        await self._load_details()
        if self._size() != known:
            self._add_batch()

    def _size(self) -> tuple[int, ...]:
        """How much is known of what was before the batch; it only grows."""
        before = self.before
        return len(self.known), len(before.links), len(before.hours), len(before.aliases)

    def _add_batch(self) -> None:
        """The evidence after the batch, from what is known of that before it."""
        batch = self.batch
        self.after = with_batch(self.before, batch.pairs, batch.hours, batch.aliases, self.in_force)
        self.ladder = self.after.ladder(self.rules)

    # --- Touchpoints -------------------------------------------------------------------------------------------------

    async def _store_touchpoints(self) -> tuple[list[Touch], list[tuple[Touch, Touch]]]:
        """Stores the batch's touchpoints. Answers those that are new, and (old, new) where a copy takes over."""
        touches = self.batch.touches
        given = list(touches.values())
        already = await self.unit.insert_touchpoints(given, await self._suspects()) if given else []
        self.outcome.stitched = len(given) - len(already)
        self.outcome.duplicates = self.batch.received - self.outcome.stitched
        taken = {(row.key, row.id) for row in already}
        fresh = [touch for name, touch in touches.items() if name not in taken]
        self.outcome.received_at = [touch.received_at for touch in fresh]
        replaced = []
        for row in already:
            old, copy = decode_touch(row.data, self.rules), touches[row.key, row.id]
            if first_received(old, copy) is copy and copy.data != old.data:
                replaced.append((old, copy))
        if replaced:
            await self.unit.replace_touchpoints([copy for _, copy in replaced])
        return fresh, replaced

    async def _suspects(self) -> list[tuple[str, str]]:
        """The touchpoints that may be in the tables already. Not what is later than all that is known of its customer,
        by its own clock: a copy that came before would have had the same time. (It may have been another one, by
        another clock: whoever stores touchpoints notices that.)"""
        profile_of = {key: one.profile for key, one in self.known.items() if not one.new}
        await self._load_profiles(profile_of.values())
        profiles = self.profiles
        known_until = {
            key: profile.last_time if (profile := profiles[id_]) else FOREVER for key, id_ in profile_of.items()
        }
        return [
            name for name, touch in self.batch.touches.items()
            if (until := known_until.get(name[0])) is not None and (touch.time <= until or not touch.has_own_time)
        ]  # fmt: skip

    async def _move(self, elsewhere: Mapping[str, int | None], ours: set[tuple[str, str]]) -> None:
        """Finds the stored touchpoints that now belong to somebody else."""
        self.elsewhere = downwards(elsewhere, self.before, self.after)
        was, now = self.before.ladder(self.rules), self.ladder
        for row in await self.unit.touchpoints(self.elsewhere):
            if (row.key, row.id) in ours:
                continue
            origin, target = was.climb(row.key, row.time), now.climb(row.key, row.time)
            if origin != target:
                self._touch(origin, row.time, -1, "link")
                self._touch(target, row.time, 1, "link")

    def _arrive(self, fresh: Iterable[Touch], replaced: Iterable[tuple[Touch, Touch]]) -> None:
        """Gives the batch's touchpoints to their profiles."""
        now = self.ladder
        for touch in fresh:
            root = now.climb(touch.key, touch.time)
            self.arrivals[root].append(touch)
            if touch.carries_traits:
                self.speaking.add(root)
        was = self.before.ladder(self.rules) if replaced else now
        for old, copy in replaced:
            self._touch(was.climb(old.key, old.time), old.time, -1, "copy")
            self._touch(now.climb(copy.key, copy.time), copy.time, 1, "copy")

    def _touch(self, root: str, time: int, gained: int, cause: str) -> None:
        self.affected[root] = min(time, self.affected.get(root, time))
        self.causes.setdefault(root, cause)
        self.gained[root] += gained

    # --- Folding -----------------------------------------------------------------------------------------------------

    async def _fold(self) -> None:
        """Folds every profile that got, lost or changed touchpoints: straight on where all is later, else again."""
        roots = {*self.arrivals, *self.affected}
        if not roots:
            return
        ids = {root: uid(root) for root in roots}
        await self._load_profiles(ids.values())
        profiles = {root: self.profiles.get(id_) or _blank(root) for root, id_ in ids.items()}
        for root, touches in self.arrivals.items():
            if not rising(touches):
                touches.sort(key=by_time)
            first = touches[0].time
            if root in self.affected:
                self.affected[root] = min(first, self.affected[root])
            elif first <= profiles[root].last_time:
                self.affected[root] = first
                self.causes[root] = "late"
        self.outcome.refolds.update(self.causes[root] for root in self.affected)
        await self._go_on({root: profiles[root] for root in roots if root not in self.affected})
        if self.affected:
            await self._fold_again({root: profiles[root] for root in self.affected})

    async def _load_profiles(self, ids: Iterable[UUID]) -> None:
        """Reads those that have not been asked for yet; what is not there is None."""
        if missing := set(ids) - self.profiles.keys():
            self.profiles |= dict.fromkeys(missing)
            self.profiles |= await self.unit.profiles(missing)

    async def _go_on(self, profiles: Mapping[str, Profile]) -> None:
        """The fast path: everything that arrived is later than everything known."""
        wanted: dict[bool, list[UUID]] = {False: [], True: []}
        for root, profile in profiles.items():  # what somebody says of himself may take all his journey elsewhere
            wanted[root in self.speaking] += profile.journeys.values()
        stored: dict[UUID, tuple[UUID, Journey]] = {}
        for whole, ids in wanted.items():
            stored |= await self.unit.journeys(ids, whole=whole) if ids else {}
        for number, (root, profile) in enumerate(profiles.items()):
            if number % BREATH == 0:
                await asyncio.sleep(0)
            known = {map_id: stored[id_][1] for map_id, id_ in profile.journeys.items() if id_ in stored}
            self._fold_on(profile, known, self.arrivals[root])

    def _fold_on(self, profile: Profile, known: Mapping[int, Journey], touches: list[Touch]) -> None:
        """Folds what is later than all there was onto a profile's last journeys, ``known`` by map."""
        folded = []
        for plan in self.plans:
            before = known.get(plan.map_id)
            journeys, _ = fold_on(plan, [before.copy()] if before else [], touches, profile.traits)
            folded.append((plan, before, journeys))
        last = {plan.map_id: journeys[-1].journey_id for plan, _, journeys in folded if journeys}
        traits = profile.traits
        for touch in touches if profile.key in self.speaking else ():
            if touch.carries_traits:
                traits = with_traits(traits, touch)
        self._write_profile(profile, max(profile.last_time, touches[-1].time), traits, last)
        for plan, before, journeys in folded:
            for number, journey in enumerate(journeys):
                old = (profile, before) if before and number == 0 else None
                self._compare(plan, old, (profile, journey))

    async def _fold_again(self, profiles: Mapping[str, Profile]) -> None:
        """The slow path: from the last visit that nothing before the change can touch."""
        await self._load_family(profiles)
        ladder = self.ladder
        below = ladder.below(profiles, self.known)
        journeys: defaultdict[tuple[str, int], list[Journey]] = defaultdict(list)
        by_uid = {profile.profile_id: root for root, profile in profiles.items()}
        for profile_id, journey in await self.unit.journeys_of(by_uid):
            journeys[by_uid[profile_id], journey.map_id].append(journey)
            self.journeys_before[journey.journey_id] = (profiles[by_uid[profile_id]], journey)
        resumptions = {
            (root, plan.map_id): resume(plan, journeys[root, plan.map_id], self.affected[root])
            for root in profiles for plan in self.plans
        }  # fmt: skip
        touches = await self._touches_of(profiles, below, ladder, {
            root: min((resumptions[root, plan.map_id].since or 0 for plan in self.plans), default=self.affected[root])
            for root in profiles
        })  # fmt: skip
        speaking = await self._speaking(profiles, below, ladder)
        for root, profile in profiles.items():
            last = {}
            for plan in self.plans:
                again = resumptions[root, plan.map_id]
                traits = traits_before(speaking[root], again.since)
                kept = [
                    _as_of(plan, journey, journeys[root, plan.map_id], speaking[root]) for journey in again.journeys
                ]
                mine = [touch for touch in touches[root] if again.since is None or touch.time >= again.since]
                folded, _ = fold_on(plan, kept, mine, traits)
                self.journeys_after |= {journey.journey_id: (profile, journey) for journey in folded}
                if folded:
                    last[plan.map_id] = folded[-1].journey_id
            latest = max([profile.last_time, *(touch.time for touch in touches[root])])
            self._write_profile(profile, latest, traits_before(speaking[root], None), last)
        self._compare_journeys()

    async def _touches_of(
        self, profiles: Iterable[str], below: Mapping[str, list[str]], ladder: Ladder, since: Mapping[str, int]
    ) -> dict[str, list[Touch]]:
        """Each profile's own touchpoints from an instant on, in order of time."""
        wanted: dict[str, int | None] = {}
        for root in profiles:
            for key in below[root]:
                wanted[key] = min(since[root], wanted.get(key) or FOREVER)
        found: dict[str, list[Touch]] = {root: [] for root in profiles}
        for row in await self.unit.touchpoints(wanted):
            root = ladder.climb(row.key, row.time)
            if root in found and row.time >= since[root]:
                found[root].append(decode_touch(row.data, self.rules))
        for touches in found.values():
            touches.sort(key=by_time)
        return found

    async def _speaking(
        self, profiles: Iterable[str], below: Mapping[str, list[str]], ladder: Ladder
    ) -> dict[str, list[Touch]]:
        """Each profile's touchpoints that carry traits."""
        keys = {key for root in profiles for key in below[root]}
        found: dict[str, list[Touch]] = {root: [] for root in profiles}
        for row in await self.unit.trait_touchpoints(keys):
            root = ladder.climb(row.key, row.time)
            if root in found:
                found[root].append(decode_touch(row.data, self.rules))
        return found

    def _write_profile(self, profile: Profile, last_time: int, traits: Traits, journeys: dict[int, UUID]) -> None:
        count = profile.touchpoints + len(self.arrivals.get(profile.key, ())) + self.gained.get(profile.key, 0)
        self.changes.profiles[profile.profile_id] = Profile(
            profile.profile_id, profile.key, count, last_time, traits, journeys, profile.sequence
        )

    # --- What comes out ----------------------------------------------------------------------------------------------

    def _compare_journeys(self) -> None:
        """Compares all journeys of those who were folded again: a journey may have gone from one to another."""
        plans = {plan.map_id: plan for plan in self.plans}
        for journey_id, (_, journey) in {**self.journeys_before, **self.journeys_after}.items():
            old, new = self.journeys_before.get(journey_id), self.journeys_after.get(journey_id)
            if journey.map_id in plans and not (old and new and old[0] is new[0] and old[1] is new[1]):
                self._compare(plans[journey.map_id], old, new)

    def _compare(self, plan: Plan, old: Owned | None, new: Owned | None) -> None:
        """Rollup deltas, changes told to others, and the row to write, of one journey."""
        before = (old[1], State(*old[1].counted, None)) if old and old[1].counted else None
        after = (new[1], state_of(new[1], plan, self.clock)) if new else None
        differs = add_difference(self.changes.rollups, plan, before, after, self.now)
        if before and before[0].restated:
            add_restated(self.changes.rollups, plan, before[0], -1)
        if new and after:
            journey, (_, state) = new[1], after
            late = new[0].key in self.affected
            reopened = before is not None and before[1].status != OPEN and state.status == OPEN
            journey.restated = before is not None and (before[0].restated or (differs and (late or reopened)))
            if journey.restated:
                add_restated(self.changes.rollups, plan, journey, 1)
            journey.counted = state[:3]
            self.changes.journeys[journey.journey_id] = (new[0].profile_id, journey)
            self.changes.due[journey.journey_id] = state.due_at
            if old and old[1].sealed > journey.sealed:
                self.changes.unsealed[journey.journey_id] = journey.sealed
        elif old:
            self.changes.gone.add(old[1].journey_id)
        self._tell_of(plan, old, new, before, after)

    def _tell_of(
        self, plan: Plan, old: Owned | None, new: Owned | None, before: Counted | None, after: Counted | None
    ) -> None:
        """Puts what changed into the outbox."""
        if old and new and old[0] is not new[0]:
            self._tell(plan, old[0], old[1].journey_id, changes(before, None), None)
            self._tell(plan, new[0], new[1].journey_id, moved(new[1]), after)
        elif owned := new or old:
            self._tell(plan, owned[0], owned[1].journey_id, changes(before, after), after)

    def _tell(self, plan: Plan, of: Profile, journey_id: UUID, told: list[Change], after: Counted | None) -> None:
        """Tells what became of a profile's journey, numbered for the profile."""
        if told:
            profile = self.changes.profiles[of.profile_id]
            lines = records(told, plan, profile.profile_id, profile.sequence, journey_id, after)
            profile.sequence += len(lines)
            self.changes.outbox += [(profile.profile_id, line) for line in lines]

    def _write_identity(self, pairs: Iterable[Pair]) -> None:
        """What became of identifiers and links."""
        changes, ladder = self.changes, self.ladder
        for key, identifier in self.known.items():
            if identifier.new or key in self.elsewhere:
                profile = uid(ladder.climb(key, FOREVER))
                if profile != identifier.profile:
                    changes.profile_of[key] = profile
        for lower in {lower for lower, _ in {*pairs, *self.in_force}}:
            degree = self.after.degrees.get(lower, 0)
            if degree != self.known[lower].degree:
                changes.degrees[lower] = degree
        changes.links = {
            pair: link for pair in {*pairs, *self.in_force}
            if (link := self.after.links.get(pair)) is not None and link != self.before.links.get(pair)
        }  # fmt: skip
        changes.hours = {
            name: self.after.hours[name] for name in self.batch.hours
            if self.after.hours[name] != self.before.hours.get(name)
        }  # fmt: skip
        changes.aliases = {
            pair: alias for pair in {*self.batch.aliases, *self.in_force}
            if (alias := self.after.aliases.get(pair)) is not None and alias != self.before.aliases.get(pair)
        }  # fmt: skip
        changes.aliased = {key for pair in self.batch.aliases for key in pair}


def with_commands(rows: Mapping[UUID, StoredRevocation], batch: Batch) -> dict[UUID, StoredRevocation]:
    """Revocations as the batch's commands leave them."""
    after = dict(rows)
    for command in batch.revocations:
        id_, (lower, higher) = UUID(command.id), pair_of(command)
        kind = "link" if command.alias is None else "alias"
        withdrawn = after[id_].withdrawn_at if id_ in after else None
        revoked_at = micros(command.received_at)
        after[id_] = StoredRevocation(id_, kind, lower, higher, command.reason, revoked_at, withdrawn)
    for withdrawal in batch.withdrawals:
        id_ = UUID(withdrawal.id)
        known = after.get(id_) or StoredRevocation(id_, None, None, None, "", None, None)
        after[id_] = replace(known, withdrawn_at=micros(withdrawal.received_at))
    return after


def _as_of(plan: Plan, kept: Journey, stored: Iterable[Journey], speaking: Iterable[Touch]) -> Journey:
    """A journey that was cut short had the segments of its last touchpoint then."""
    whole = next(journey for journey in stored if journey.journey_id == kept.journey_id)
    if kept is not whole and kept.last_at != whole.last_at:
        kept.segments = plan.segments(plain(traits_before(speaking, kept.last_at + 1)))
    return kept


def _blank(root: str) -> Profile:
    return Profile(uid(root), root, 0, -FOREVER, {}, {}, 0)
