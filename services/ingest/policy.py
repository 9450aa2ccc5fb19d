"""What one source wants done with its touchpoints: bots, consent, tracking plan, privacy, in this order. Pure.

`Policy` is compiled once a source, and becomes `Applied` on a request, which judges each touchpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Final, Protocol

import msgspec

from services.ingest import consent
from services.ingest.bots import is_bot
from services.ingest.dialects.raw import RawTouchpoint
from services.ingest.hygiene import scrub
from services.ingest.plan import UNPLANNED, Plan
from services.ingest.privacy import Cover, Document
from services.ingest.reasons import Rejection, rejection
from shared.keys import Consent, Privacy, Source
from shared.touchpoint import BOT

ANONYMISED: Final = "anonymised"
VIOLATED: Final = "plan_violated"
_ENCODE: Final = msgspec.json.Encoder().encode


class Draft(Document, Protocol):
    """A touchpoint on its way through the checks (`accept.Draft`)."""

    event: str | None
    flags: tuple[str, ...]


class Policy:
    """The rules of one source. ``key`` is that of its hashes, ``plan`` its tracking plan, compiled; ValueError if the
    source asks for something of this that is not given."""

    __slots__ = (
        "bots", "consent", "cover", "has_terms", "hides_addresses", "is_browser", "looks_for_bots", "plan", "plan_mode",
        "unplanned",
    )  # fmt: skip

    def __init__(self, source: Source, *, key: bytes = b"", plan: Plan | None = None) -> None:
        if source.privacy.hash and not key:
            raise ValueError(f"{source.name} hashes fields: set THROUGHLINE_HASH_KEY")
        if source.plan is not None and plan is None:
            raise ValueError(f"{source.name} has a tracking plan: its file is needed")
        self.bots = source.bots
        self.consent = source.consent
        self.is_browser = source.kind == "browser"
        self.cover = Cover(source.privacy, key)
        self.plan = plan
        self.plan_mode = source.plan.mode if source.plan else "warn"
        self.unplanned = source.plan.unplanned if source.plan else "allow"
        self.looks_for_bots = self.bots != "stitch"
        self.has_terms = source.consent is not None or plan is not None or self.cover.has_rules
        self.hides_addresses = source.privacy.ip != "keep"
        if self.looks_for_bots:
            is_bot("")  # loads the rules now, not when the first touchpoint waits

    def after_cover(self) -> Policy:
        """The same for what is covered already: hashed twice, it would be somebody else's."""
        bare = copy(self)
        bare.cover, bare.hides_addresses = Cover(Privacy(ip="keep"), b""), False
        bare.has_terms = self.consent is not None or self.plan is not None
        return bare

    def on(self, headers: Mapping[bytes, bytes]) -> Applied:
        """The policy for one request. The agent of the request is a visitor's only where visitors' browsers send."""
        agent = headers.get(b"user-agent") if self.is_browser and self.looks_for_bots else None
        by_bot = agent is not None and is_bot(agent.decode("latin-1"))
        return Applied(self, by_bot, headers.get(b"sec-gpc") == b"1")


class Applied:
    """A policy on one request. ``bots`` counts what came from bots; ``violations`` has, for each touchpoint that is not
    as planned, the name that the plan has for its event."""

    __slots__ = ("bots", "by_bot", "gpc", "policy", "violations")

    def __init__(self, policy: Policy, by_bot: bool, gpc: bool) -> None:
        self.policy, self.by_bot, self.gpc = policy, by_bot, gpc
        self.bots = 0
        self.violations: list[str] = []

    def passes(self, context: dict[str, Any]) -> bool:
        """Whether `judge` would do nothing to a touchpoint but hide its address: that is done."""
        policy = self.policy
        if policy.has_terms or (policy.looks_for_bots and self._is_by_bot(context)):
            return False
        if policy.hides_addresses and "ip" in context:
            policy.cover.address(context)
        return True

    def judge(self, type_: str, draft: Draft) -> Rejection | None:
        """Does to a touchpoint what its source wants done, or rejects it."""
        policy = self.policy
        if policy.looks_for_bots and self._is_by_bot(draft.context) and self._is_dropped(draft):
            return rejection("bot")
        if policy.has_terms and (wrong := self._terms(type_, draft)) is not None:
            return wrong
        if policy.hides_addresses and "ip" in draft.context:
            policy.cover.address(draft.context)
        return None

    def _is_by_bot(self, context: dict[str, Any]) -> bool:
        agent = context.get("userAgent")
        return is_bot(agent) if type(agent) is str and agent else self.by_bot

    def _is_dropped(self, draft: Draft) -> bool:
        """Marks and counts what a bot did."""
        self.bots += 1
        draft.flags = (*draft.flags, BOT)
        return self.policy.bots == "drop"

    def _terms(self, type_: str, draft: Draft) -> Rejection | None:
        """What only some sources ask for."""
        policy = self.policy
        if policy.consent is not None and (wrong := self._consent(policy.consent, type_, draft)) is not None:
            return wrong
        if policy.plan is not None and (wrong := self._plan(policy.plan, type_, draft)) is not None:
            return wrong
        policy.cover.fields(draft)
        return None if draft.ids else rejection("identifier_missing", "all of them are dropped")

    def letter(self, raw: RawTouchpoint | None, original: bytes) -> bytes:
        """What the dead letter of a rejected touchpoint may keep: the original as sent, or, where the source hides some
        of it, the touchpoint with that hidden, in Segment's form; nothing of somebody who did not agree."""
        terms, cover = self.policy.consent, self.policy.cover
        if terms is not None and not consent.is_given(terms, _part(raw and raw.context), self.gpc):
            return b""
        if not (cover.has_rules or (self.policy.hides_addresses and _has_address(raw))):
            return original
        return b"" if raw is None else _covered(raw, cover)

    def _consent(self, terms: Consent, type_: str, draft: Draft) -> Rejection | None:
        if consent.is_given(terms, draft.context, self.gpc):
            return None
        if terms.otherwise == "drop" or not consent.anonymise(type_, draft):
            return rejection("consent_missing")
        draft.flags = (*draft.flags, ANONYMISED)
        return None

    def _plan(self, plan: Plan, type_: str, draft: Draft) -> Rejection | None:
        if not plan.is_planned(type_, draft.event):
            if self.policy.unplanned == "allow":
                return None
            return self._violated(UNPLANNED, self.policy.unplanned, "/event: no such event is planned", draft)
        found = plan.violation(type_, draft.event, draft)
        if found is None:
            return None
        return self._violated(found.event, self.policy.plan_mode, f"{found.pointer}: {found.message}", draft)

    def _violated(self, event: str, mode: str, detail: str, draft: Draft) -> Rejection | None:
        self.violations.append(event)
        if mode == "reject":
            return rejection("plan_violated", detail)
        draft.flags = (*draft.flags, VIOLATED)
        return None


class _Sent:
    """A touchpoint that got through no checks, as far as it has parts to cover."""

    def __init__(self, raw: RawTouchpoint) -> None:
        self.ids: dict[str, str] = {}
        self.previous_id: str | None = None
        self.properties = _part(raw.properties)
        self.traits = _part(raw.traits)
        self.context = _part(raw.context)


def _part(value: Any) -> dict[str, Any]:
    return scrub(value) if type(value) is dict else {}


def _has_address(raw: RawTouchpoint | None) -> bool:
    return raw is not None and type(raw.context) is dict and "ip" in raw.context


def _covered(raw: RawTouchpoint, cover: Cover) -> bytes:
    """In JSON, by the names of Segment's API."""
    sent = _Sent(raw)
    cover.fields(sent)
    if cover.ip != "keep" and "ip" in sent.context:
        cover.address(sent.context)
    members: dict[str, Any] = {
        "type": raw.type, "event": raw.event, "name": raw.name, "messageId": raw.message_id,
        "userId": cover.identifier("user_id", scrub(raw.user_id)),
        "anonymousId": cover.identifier("anonymous_id", scrub(raw.anonymous_id)),
        "previousId": cover.identifier("user_id", scrub(raw.previous_id)), "groupId": raw.group_id,
        "timestamp": raw.timestamp, "originalTimestamp": raw.original_timestamp, "sentAt": raw.sent_at,
        "properties": sent.properties, "traits": sent.traits, "context": sent.context,
    }  # fmt: skip
    return _ENCODE({name: scrub(value) for name, value in members.items() if value is not None})
