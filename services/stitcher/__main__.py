"""`python -m services.stitcher`: the stitcher alone."""

from __future__ import annotations

import sys

from services.stitcher.app import serve
from services.stitcher.errors import Stuck
from services.stitcher.settings import StitcherSettings
from shared.process import main

if __name__ == "__main__":
    sys.exit(main(serve, StitcherSettings, Stuck))
