"""Which partition a key belongs to: murmur2, as Kafka's own clients choose for records with a key."""

from __future__ import annotations

from functools import lru_cache
from struct import unpack_from
from typing import Final

_MIX: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The hash of Kafka's default partitioner, as an unsigned 32-bit number."""
    length = len(data)
    words, tail = divmod(length, 4)
    h = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        k = word * _MIX & _WORD
        h = (h * _MIX & _WORD) ^ ((k ^ k >> 24) * _MIX & _WORD)
    if tail:
        h = (h ^ int.from_bytes(data[-tail:], "little")) * _MIX & _WORD
    h = (h ^ h >> 13) * _MIX & _WORD
    return h ^ h >> 15


@lru_cache(maxsize=131_072)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` in a topic with so many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
