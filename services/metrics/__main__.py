"""`python -m services.metrics`: the metrics service alone."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from services.metrics.app import serve
from services.metrics.settings import MetricsSettings


def main() -> int:
    """Runs until it is told to stop; 2 if it is misconfigured."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(MetricsSettings()))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
