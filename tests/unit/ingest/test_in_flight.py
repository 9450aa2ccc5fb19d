"""What ingest takes on at one time."""

from __future__ import annotations

import pytest

from services.ingest.errors import Refusal
from services.ingest.in_flight import InFlight, Limits


def test_one_request_alone_is_begun_however_large_and_no_more_until_it_is_done() -> None:
    some = InFlight(Limits(requests=10, bytes=1000, body_seconds=1.0, working=100))
    some.begin(500)
    with pytest.raises(Refusal, match="worked on"):
        some.begin(1)
    some.working -= 500
    some.begin(60)
    some.begin(40)
    assert some.working == 100


def test_what_is_refused_counts_for_nothing() -> None:
    some = InFlight(Limits(requests=1, bytes=100, body_seconds=1.0))
    some.enter()
    some.hold(100)
    with pytest.raises(Refusal, match="requests"):
        some.enter()
    with pytest.raises(Refusal, match="bytes"):
        some.hold(1)
    assert (some.requests, some.bytes) == (1, 100)
