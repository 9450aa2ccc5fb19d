"""Seals bytes that lie at rest, with keys that can be replaced: the first one seals, each of them opens."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Seals:
    """Fernet's keys, separated by commas; ValueError in a sentence if one is none."""

    def __init__(self, keys: str) -> None:
        try:
            self._keys = MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
        except ValueError as error:
            raise ValueError(
                "THROUGHLINE_DEADLETTER_KEY needs 32 bytes in URL-safe base64, as `throughline keys seal` prints them; "
                "several are separated by commas"
            ) from error

    def seal(self, plain: bytes) -> bytes:
        """A token, in ASCII."""
        return self._keys.encrypt(plain)

    def open(self, token: bytes) -> bytes:
        """What was sealed. Raises ValueError if none of the keys fits."""
        try:
            return self._keys.decrypt(token)
        except InvalidToken as error:
            raise ValueError("sealed with a key that THROUGHLINE_DEADLETTER_KEY does not have") from error


def seals_of(keys: str | None) -> Seals | None:
    """The seals of a setting; None where nothing is to be sealed."""
    return Seals(keys) if keys else None
