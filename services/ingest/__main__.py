"""`python -m services.ingest`: the service alone, settings from the environment."""

from __future__ import annotations

import sys

from services.ingest.app import serve
from services.ingest.settings import IngestSettings
from shared.process import main

if __name__ == "__main__":
    sys.exit(main(serve, IngestSettings))
