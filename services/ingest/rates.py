"""How much a source may send: a token bucket counted in touchpoints. The clock is an argument."""

from __future__ import annotations

from typing import Final

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Bucket:
    """Holds one period's worth at most. A request that is bigger than that passes when the bucket is full, and its
    debt is paid off before the next one: nobody is refused for ever."""

    __slots__ = ("_left", "_seen", "per_second", "size")

    def __init__(self, size: float, seconds: float) -> None:
        self.size, self.per_second = size, size / seconds
        self._left, self._seen = size, float("-inf")

    def take(self, n: int, now: float) -> float | None:
        """None when n touchpoints may pass at ``now`` (seconds), else the seconds to wait for that."""
        if now > self._seen:
            self._left = min(self.size, self._left + (now - self._seen) * self.per_second)
            self._seen = now
        wanted = min(n, self.size)
        if self._left < wanted:
            return (wanted - self._left) / self.per_second
        self._left -= n
        return None


def bucket_of(rate: str | None) -> Bucket | None:
    """`5000/second` as a bucket; None for no limit."""
    return None if rate is None else bucket(rate)


def bucket(rate: str) -> Bucket:
    """`5000/second` as a bucket that is full; ValueError for a rate of nothing."""
    n, _, period = rate.partition("/")
    if int(n) == 0:
        raise ValueError(f"the rate {rate!r} lets nothing through; leave it out, or take the source away")
    return Bucket(float(int(n)), float(_SECONDS[period.strip()]))
