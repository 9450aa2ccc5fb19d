"""How hard the laws are tried: no deadline, since the machine may be busy; a failure prints how to see it again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support.stored", "tests.support.workers")
settings.register_profile("laws", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
