"""How hard the laws are tried: no deadline, since the machine may be busy; a failure prints how to see it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from services.stitcher.journey import fold

pytest.register_assert_rewrite("tests.support.stored", "tests.support.workers")
settings.register_profile("laws", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")


@pytest.fixture(autouse=True, scope="module")
def short_blocks() -> Iterator[None]:
    """Histories are short: so that they have blocks of visits at all, these are short too, for the laws alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "BLOCK", 2)
        yield
