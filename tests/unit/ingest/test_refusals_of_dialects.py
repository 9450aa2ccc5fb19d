"""What recorded SDKs do with a status: none that we answer makes one loop, crash, or lose what would be taken later."""

from __future__ import annotations

import json

import pytest

from services.ingest.dialects.dialect import Answer, Dialect
from services.ingest.dialects.posthog import ROUTES as POSTHOG
from services.ingest.errors import REFUSALS, Refusal
from services.ingest.routes import ROUTES

LATER = {"log_unavailable", "overloaded", "body_too_slow", "rate_exceeded", "internal"}
POSTED = ("/v1/track", "/v1/batch", "/beacon/v1/batch", "/api/s/track", "/batch", "/e", "/i/v1/analytics/events")
SHOWN = ("/v1/pixel/track", "/pixel/v1/page")
posted = pytest.mark.parametrize("dialect", [ROUTES[path] for path in POSTED], ids=POSTED)


def refused(dialect: Dialect) -> dict[str, Answer]:
    """The answer of each refusal."""
    return {code: dialect.refuse(Refusal(code, retry_after=2.1)) for code in REFUSALS}


@posted
def test_what_would_be_taken_later_is_answered_with_what_sdks_send_again(dialect: Dialect) -> None:
    assert {answer.status for code, answer in refused(dialect).items() if code in LATER} <= {429, 500, 503}


@posted
def test_what_would_end_the_same_is_not_sent_again(dialect: Dialect) -> None:
    ended = {answer.status for code, answer in refused(dialect).items() if code not in LATER}
    assert ended <= {400, 401, 403, 404, 405, 413, 415, 422}


def test_posthogs_sdks_never_see_the_429_that_they_forget_over() -> None:
    for dialect in POSTHOG.values():
        assert 429 not in {answer.status for answer in refused(dialect).values()}


@posted
def test_a_refusal_has_code_and_message_or_rudders_sdk_sends_it_again(dialect: Dialect) -> None:
    for code, answer in refused(dialect).items():
        problem = json.loads(answer.body)
        assert (problem["code"], problem["status"]) == (code, answer.status)
        assert problem["message"]


@posted
def test_who_is_to_wait_is_told_how_long_in_whole_seconds(dialect: Dialect) -> None:
    answers = refused(dialect)
    for code in LATER - {"internal"}:
        assert (b"retry-after", b"3") in answers[code].headers


@pytest.mark.parametrize("path", SHOWN)
def test_an_image_is_an_image(path: str) -> None:
    for answer in refused(ROUTES[path]).values():
        assert (answer.status, answer.content_type) == (200, "image/gif")
