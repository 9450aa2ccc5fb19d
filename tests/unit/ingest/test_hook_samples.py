"""The ready mappings of webhooks: each sample of a product gives exactly the touchpoints that stand beside it."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.accept import Accepted, Intake, accept
from services.ingest.dialects.hooks import hook, parsed
from services.ingest.dialects.mapping import Mapping, mapping_of
from services.ingest.errors import Refusal
from services.ingest.hook_files import SHIPPED, ready
from services.ingest.reasons import Rejection
from services.ingest.redrive import kept, resent
from services.ingest.signatures import signature_of
from services.ingest.times import Arrival
from services.stitcher.journey.rules import Plan
from services.stitcher.journey.touch import decode_touch
from shared.identifiers import IdentityRules
from shared.journey_map import JourneyMap
from shared.touchpoint import CHANNELS, Touchpoint
from tests.support.calls import Asked
from tests.support.sent import SHOP

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
SAMPLES = Path(__file__).parents[2] / "data" / "hooks"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
SENT: dict[str, list[dict[str, Any]]] = {
    name: json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES
}
CASES = [pytest.param(name, case, id=f"{name}: {case['name']}") for name in NAMES for case in SENT[name]]
MAPPINGS = {name: mapping_of(ready(name, SHIPPED.parent)) for name in NAMES}
SECRETS = ("STRIPE_WEBHOOK_SECRET", "SHOPIFY_WEBHOOK_SECRET", "HUBSPOT_CLIENT_SECRET", "ZENDESK_WEBHOOK_SECRET",
           "TWILIO_AUTH_TOKEN", "TYPEFORM_WEBHOOK_SECRET", "INTERCOM_CLIENT_SECRET", "AFTERSHIP_WEBHOOK_SECRET",
           "LOB_WEBHOOK_SECRET")  # fmt: skip


def asked(case: dict[str, Any]) -> Asked:
    """The request of a sample, as the product sends it."""
    headers = {name.encode(): value.encode() for name, value in case.get("headers", {}).items()}
    if "form" in case:
        headers[b"content-type"] = b"application/x-www-form-urlencoded; charset=UTF-8"
        return Asked("POST", "/v1/hooks/s", {}, headers, urlencode(case["form"]).encode())
    return Asked("POST", "/v1/hooks/s", {}, headers, json.dumps(case["body"]).encode())


def becomes(mapping: Mapping, call: Asked) -> list[Accepted | Rejection]:
    intake = Intake(
        source=SHOP, arrival=Arrival.of(MIDNIGHT, None, False), rules=IdentityRules(), new_id=lambda: "made"
    )
    return [accept(raw, intake) for raw in parsed(mapping, call, "shop").items]


def touchpoints(name: str, case: dict[str, Any]) -> list[Touchpoint]:
    decisions = becomes(MAPPINGS[name], asked(case))
    assert all(isinstance(one, Accepted) for one in decisions), decisions
    return [one.touchpoint for one in decisions if isinstance(one, Accepted)]


def shown(touchpoint: Touchpoint) -> dict[str, Any]:
    """A touchpoint without what every one has."""
    left_out = ("received_at", "source", "context", "flags")
    return {key: value for key, value in msgspec.to_builtins(touchpoint).items() if key not in left_out}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_sample_gives_exactly_these_touchpoints(name: str, case: dict[str, Any]) -> None:
    assert [shown(one) for one in touchpoints(name, case)] == case["touchpoints"]


def test_every_ready_mapping_has_samples_and_every_sample_a_mapping() -> None:
    assert sorted(path.stem for path in SAMPLES.glob("*.json")) == NAMES
    assert all(SENT.values())


def test_all_channels_occur() -> None:
    occurring = {one.channel for name in NAMES for case in SENT[name] for one in touchpoints(name, case)}
    assert occurring == set(CHANNELS)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_webhook_that_is_sent_again_has_the_same_ids(name: str, case: dict[str, Any]) -> None:
    first, second = ([one.id for one in touchpoints(name, case)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_dead_letter_of_it_is_read_again_as_the_same(name: str, case: dict[str, Any]) -> None:
    call = asked(case)
    sent, kept_of = parsed(MAPPINGS[name], call, "shop"), kept(call, parsed(MAPPINGS[name], call, "shop"), False)
    again = hook(SHOP, MAPPINGS[name], None, lambda: MIDNIGHT).again
    assert again is not None
    read = [again(resent(kept_of, sent.original(index)), None).items for index in range(len(sent.items))]
    assert read == [[item] for item in sent.items]


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_signature_is_complete(name: str) -> None:
    given = ready(name, SHIPPED.parent).get("signature")
    if given is not None:
        environment = dict.fromkeys(SECRETS, "secret")
        assert signature_of({**given, "url": "https://t.example/v1/hooks/s"}, environment).secrets == ("secret",)


def test_what_somebody_says_is_an_experience() -> None:
    felt = {name: [_felt(one) for case in SENT[name] for one in touchpoints(name, case)] for name in FELT}
    assert felt == FELT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


FELT: dict[str, list[float | None]] = {
    "typeform": [0.5],
    "survey": [1.0, -0.4],
    "mentions": [-1.0, 0.8, 0.0],
    "intercom": [None, -0.5],
}
PLAN = Plan(
    1,
    JourneyMap.model_validate(
        {
            "map": "m", "version": 1, "timezone": "UTC", "goal": {"event": "Order Completed"},
            "stages": [{"name": "all", "when": [{"type": "track"}]}],
            "experience": [
                {"event": "Survey Answered", "where": {"properties.rating": {"exists": True}},
                 "score": "properties.rating", "scale": [1, 5]},
                {"event": "Survey Answered", "score": "properties.nps", "scale": [0, 10]},
                {"event": "Brand Mentioned", "score": "properties.sentiment", "scale": [-1, 1]},
            ],
        }
    ),
)  # fmt: skip


def _felt(touchpoint: Touchpoint) -> float | None:
    felt = PLAN.match(decode_touch(msgspec.json.encode(touchpoint), IdentityRules())).felt
    return None if felt is None else felt / 1_000_000


def _mutated(value: Any) -> st.SearchStrategy[Any]:
    """A body of the right shape, with anything in its places."""
    if isinstance(value, dict):
        return st.fixed_dictionaries({key: st.one_of(_mutated(member), JSON) for key, member in value.items()})
    if isinstance(value, list):
        return st.tuples(*(_mutated(member) for member in value)).map(list)
    return st.just(value)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_body_breaks_a_ready_mapping(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    case = data.draw(st.sampled_from(SENT[name]))
    body = data.draw(st.one_of(JSON, _mutated(case.get("body", case.get("form")))))
    call = Asked("POST", "/", {}, asked(case).headers, json.dumps(body).encode())
    for decision in becomes(MAPPINGS[name], call):
        assert isinstance(decision, (Accepted, Rejection))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), body=st.binary(max_size=64), form=st.booleans())
def test_bytes_are_a_body_or_a_refusal(name: str, body: bytes, form: bool) -> None:
    headers = {b"content-type": b"application/x-www-form-urlencoded" if form else b"application/json"}
    decisions: list[Accepted | Rejection] = []
    with contextlib.suppress(Refusal):
        decisions = becomes(MAPPINGS[name], Asked("POST", "/", {}, headers, body))
    assert all(isinstance(one, (Accepted, Rejection)) for one in decisions)
