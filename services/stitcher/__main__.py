"""`python -m services.stitcher`: the stitcher alone."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from services.stitcher.app import serve
from services.stitcher.errors import Stuck
from services.stitcher.settings import StitcherSettings


def main() -> int:
    """Runs until it is told to stop; 2 if it is misconfigured, 1 if it is stuck."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(StitcherSettings()))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except Stuck as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
