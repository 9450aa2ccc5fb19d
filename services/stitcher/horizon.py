"""How far everything acknowledged is in the tables: samples of the log's end, passed or not. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

MOST: Final = 64


class Horizon:
    """Per partition: at instant ``now`` the log ended at ``end``; once the next offset is past it, all that had been
    acknowledged before ``now`` is in."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[tuple[int, int]]] = {}

    def sample(self, now: int, ends: Mapping[int, int]) -> None:
        """Remembers where the log ended; ``now`` must have been read before ``ends`` were asked for."""
        for partition, end in ends.items():
            samples = self._samples.setdefault(partition, deque())
            if samples and samples[-1][1] == end:
                samples.pop()  # nothing came meanwhile: the later instant says more
            elif len(samples) == MOST:
                samples.pop()
            samples.append((now, end))

    def passed(self, partition: int, next_offset: int) -> int | None:
        """The latest instant that a partition read up to ``next_offset`` is complete for; None: no new one."""
        found = None
        samples = self._samples.get(partition, deque())
        while samples and samples[0][1] <= next_offset:
            found = samples.popleft()[0]
        return found

    def forget(self) -> None:
        """After a change of assignment: samples are of partitions that were ours then."""
        self._samples.clear()
