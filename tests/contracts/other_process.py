"""A member of a group in a process that can be killed; prints what it holds whenever that changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping

from shared.eventlog.open import open_reader
from shared.eventlog.port import LogUnavailable
from shared.settings import Settings


class Telling:
    def __init__(self) -> None:
        self.held: set[int] = set()

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        self.held |= partitions
        print(json.dumps(sorted(self.held)), flush=True)
        return dict.fromkeys(partitions, 0)

    async def revoked(self, partitions: frozenset[int]) -> None:
        self.held -= partitions
        print(json.dumps(sorted(self.held)), flush=True)


async def main(settings: str, topic: str, group: str, name: str) -> None:
    reader = open_reader(Settings.model_validate_json(settings), topic, group, name)
    await reader.start(Telling())
    while True:
        with contextlib.suppress(LogUnavailable):
            await reader.poll(100, 1.0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
