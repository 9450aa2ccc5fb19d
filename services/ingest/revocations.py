"""From what is asked to a command: links and aliases that are no longer to count. Pure."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from services.ingest.errors import Refusal
from services.ingest.identifiers import identifier
from shared.identifiers import IdentityRules, key
from shared.touchpoint import Revocation, Withdrawal

_FORMS = "give either lower and higher, both as kind:value, or alias, two user ids"


def revocation(
    *, id_: str, at: datetime, lower: str | None, higher: str | None, alias: tuple[str, str] | None, reason: str,
    rules: IdentityRules,
) -> Revocation:  # fmt: skip
    """The command to forget a link or an alias, its identifiers as touchpoints carry them. Raises Refusal."""
    if alias is not None:
        if lower is not None or higher is not None:
            raise Refusal("value_invalid", _FORMS)
        one, other = (_value("user_id", user, rules) for user in alias)
        if one == other:
            raise Refusal("value_invalid", "alias: the two user ids are the same")
        return Revocation(id=id_, received_at=at, alias=(one, other), reason=reason)
    if lower is None or higher is None:
        raise Refusal("value_invalid", _FORMS)
    (low_kind, low), (high_kind, high) = _identifier(lower, "lower", rules), _identifier(higher, "higher", rules)
    if rules.rank(low_kind) <= rules.rank(high_kind):
        raise Refusal("value_invalid", f"a link goes up: {low_kind} is not below {high_kind}")
    return Revocation(id=id_, received_at=at, lower=key(low_kind, low), higher=key(high_kind, high), reason=reason)


def withdrawal(id_: str, at: datetime, reason: str) -> Withdrawal:
    """The command to undo a revocation. Raises Refusal for what can be no id of one."""
    try:
        return Withdrawal(id=str(UUID(id_)), received_at=at, reason=reason)
    except ValueError as error:
        raise Refusal("not_found", f"{id_!r} is not the id of a revocation") from error


def _identifier(given: str, name: str, rules: IdentityRules) -> tuple[str, str]:
    kind, colon, value = given.partition(":")
    if not colon or kind not in rules.kinds:
        raise Refusal("value_invalid", f"{name}: write kind:value, where kind is one of {', '.join(rules.kinds)}")
    return kind, _value(kind, value, rules)


def _value(kind: str, value: str, rules: IdentityRules) -> str:
    kept = identifier(kind, value, rules)
    if kept is None:
        raise Refusal("value_invalid", f"{kind}: {value!r} is a placeholder and links nobody")
    if not isinstance(kept, str):
        raise Refusal("value_invalid", kept.message)
    return kept
