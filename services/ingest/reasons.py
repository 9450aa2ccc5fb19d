"""Why a touchpoint is rejected: the closed list of reasons, each with its sentence."""

from __future__ import annotations

from typing import Final

import msgspec

REASONS: Final[dict[str, str]] = {
    "not_an_object": "a touchpoint, its properties, traits and context must be JSON objects",
    "too_deep": "nested more than 40 levels deep, counted from the touchpoint itself",
    "type_unknown": "type must be one of track, identify, page, screen, group, alias",
    "identifier_invalid": "an identifier must be text or a whole number of 64 bit, without NUL or broken characters",
    "identifier_too_long": "an identifier may have 256 bytes of UTF-8",
    "identifier_missing": "at least one identifier is needed that is no placeholder",
    "attribute_missing": "a CloudEvent needs id, source, type, and 1.0 as its specversion",
    "event_missing": "a track needs the name of its event",
    "previous_id_missing": "an alias needs a previousId that is no placeholder",
    "group_id_missing": "a group needs a groupId",
    "time_invalid": "the time cannot be read; write it as 2026-11-23T10:00:00.123Z",
    "time_out_of_range": "the time is before 2000 or more than 24 hours ahead",
    "bot": "it comes from a bot, and its source takes none",
    "consent_missing": "its source asks for consent, and this was sent without; nothing but its id is kept",
    "plan_violated": "it is not as the tracking plan of its source has it",
    "too_large": "an encoded touchpoint may have 32 KiB",
    "unmapped": "no event of the mapping of this webhook is for such a body",
}


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A touchpoint that is not taken: one of REASONS, and a sentence for people; ``id`` as far as it has one."""

    reason: str
    message: str
    id: str | None = None


def rejection(reason: str, detail: str = "") -> Rejection:
    """The reason with its sentence, and what exactly it is about."""
    return Rejection(reason, f"{detail}: {REASONS[reason]}" if detail else REASONS[reason])
