"""All that is stored, component by component, and what it gives when it is folded from scratch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from services.stitcher.journey.evidence import Evidence
from services.stitcher.journey.identity import Alias, Link, Span
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.scratch import Result, fold_touches
from services.stitcher.journey.touch import Touch, decode_touch
from services.stitcher.ports import Identifier
from shared.identifiers import IdentityRules

AT_ONCE: Final = 500  # components

COMPONENTS = "select component, count(*) from identifiers group by component order by component"
IDENTIFIERS = "select uid, key, profile, degree, aliased from identifiers where component = any($1::uuid[])"
LINKS = """
    select lower, higher, earliest, earliest_id, latest, latest_id, revoked from links where lower = any($1::uuid[])
"""
HOURS = """
    select lower, higher, hour, earliest, earliest_id, latest, latest_id from link_hours where lower = any($1::uuid[])
"""
ALIASES = "select a, b, time, touchpoint_id, revoked from aliases where a = any($1::uuid[])"
TOUCHPOINTS = "select data from touchpoints where identifier = any($1::uuid[])"


class Report(Protocol):
    """Whoever wants to know how far it is and what was found."""

    def progress(self, what: str, done: int, total: int) -> None: ...

    def problem(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Part:
    """Some components whole: what is stored of identity and touchpoints, and what that gives at a clock's instant."""

    identifiers: dict[str, Identifier]
    evidence: Evidence
    touches: list[Touch]
    folded: Result


async def parts(
    connection: Any, plans: Sequence[Plan], rules: IdentityRules, clock: int, *, report: Report, what: str
) -> AsyncIterator[Part]:
    """Everything, a part at a time. Within a transaction, whose snapshot it is."""
    total = await connection.fetchval("select count(*) from identifiers")
    done = 0
    some: list[UUID] = []
    report.progress(what, done, total)
    async for component, size in connection.cursor(COMPONENTS, prefetch=AT_ONCE):
        some.append(component)
        done += size
        if len(some) == AT_ONCE:
            yield await _part(connection, some, plans, rules, clock)
            report.progress(what, done, total)
            some = []
    if some:
        yield await _part(connection, some, plans, rules, clock)
    report.progress(what, done, total)


async def _part(
    connection: Any, components: Sequence[UUID], plans: Sequence[Plan], rules: IdentityRules, clock: int
) -> Part:
    rows = await connection.fetch(IDENTIFIERS, components)
    keys: dict[UUID, str] = {row[0]: row[1] for row in rows}
    identifiers = {row[1]: Identifier(row[1], row[2], row[3], row[4]) for row in rows}
    uids = list(keys)
    evidence = Evidence(
        {(keys[r[0]], keys[r[1]]): Link(keys[r[0]], keys[r[1]], Span(*r[2:6]), r[6])
         for r in await connection.fetch(LINKS, uids)},
        {(keys[r[0]], keys[r[1]], r[2]): Span(*r[3:7]) for r in await connection.fetch(HOURS, uids)},
        {(keys[r[0]], keys[r[1]]): Alias(keys[r[0]], keys[r[1]], *r[2:5])
         for r in await connection.fetch(ALIASES, uids)},
    )  # fmt: skip
    evidence.degrees = degrees(evidence.links.values())
    touches = [decode_touch(row[0], rules) for row in await connection.fetch(TOUCHPOINTS, uids)]
    return Part(identifiers, evidence, touches, fold_touches(touches, evidence.ladder(rules), plans, clock))


def degrees(links: Iterable[Link]) -> dict[str, int]:
    """How many different higher identifiers each lower one links to, revoked links aside."""
    found: defaultdict[str, int] = defaultdict(int)
    for link in links:
        found[link.lower] += not link.revoked
    return dict(found)
