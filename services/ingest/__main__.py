"""`python -m services.ingest`: the service alone, settings from the environment."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from services.ingest.app import serve
from services.ingest.settings import IngestSettings


def main() -> int:
    """Runs until it is told to stop; 2 if it is misconfigured."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(IngestSettings()))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
