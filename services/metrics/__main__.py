"""`python -m services.metrics`: the metrics service alone."""

from __future__ import annotations

import sys

from services.metrics.app import serve
from services.metrics.settings import MetricsSettings
from shared.process import main

if __name__ == "__main__":
    sys.exit(main(serve, MetricsSettings))
