"""Whose read key may command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from services.ingest.errors import Refusal
from shared.keys import Reader, hashed


class Admins:
    """The read keys that may command."""

    def __init__(self, readers: Iterable[Reader], now: Callable[[], datetime]) -> None:
        known = list(readers)
        self._may = {key: "admin" in reader.scopes for reader in known for key in reader.keys}
        self._ends = {key: end for reader in known for key, end in reader.ends.items()}
        self._now = now

    def check(self, key: str | None) -> None:
        """Raises Refusal unless the key has the scope admin."""
        if not key:
            raise Refusal("key_missing", "no read key: send one as Authorization: Bearer <read key>")
        may = self._may.get(found := hashed(key))
        if may is None:
            raise Refusal("key_unknown")
        if found in self._ends and self._now() >= self._ends[found]:
            raise Refusal("key_ended")
        if not may:
            raise Refusal("scope_missing")
