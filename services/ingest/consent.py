"""Whether somebody agreed, and what is left of a touchpoint of somebody who did not. Pure.

Consent is what Segment's SDKs send: `context.consent.categoryPreferences`, a category's name -> true or false.
A Global Privacy Control signal (`context.gpc`, or the header `Sec-GPC: 1`) is a refusal of everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.ingest.privacy import Document
from shared.keys import Consent

# what of the context points at a person or a device
PERSONAL: Final = frozenset(
    ("device", "externalIds", "groupId", "ids", "ip", "location", "traits", "userAgent", "userAgentData")
)
NAMELESS: Final = frozenset(("track", "page", "screen"))  # the others say nothing but who somebody is


def is_given(terms: Consent, context: Mapping[str, Any], gpc: bool) -> bool:
    """Whether all the categories that a source requires were agreed to; what was not said was not agreed to."""
    if terms.gpc == "honour" and (gpc or context.get("gpc") in (True, "1", 1)):
        return False
    if not terms.require:
        return True
    said = context.get("consent")
    preferences = said.get("categoryPreferences") if type(said) is dict else None
    if type(preferences) is not dict:
        return False
    agreed = {name.strip().lower() for name, value in preferences.items() if value is True}
    return agreed.issuperset(terms.categories)


def anonymise(type_: str, document: Document) -> bool:
    """Leaves what a nameless visitor did: no identifier above the anonymous one, no traits, nothing of the device.
    False if nothing would be left."""
    anonymous = document.ids.get("anonymous_id")
    if anonymous is None or type_ not in NAMELESS:
        return False
    document.ids = {"anonymous_id": anonymous}
    document.traits = {}
    document.context = {name: value for name, value in document.context.items() if name not in PERSONAL}
    return True
