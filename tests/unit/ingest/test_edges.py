"""The small rooms of the edge: keys, rates, CORS, refusals, records, commands."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.accept import Accepted
from services.ingest.cors import preflight_headers
from services.ingest.encode import MAX_KEPT, Rejected, command_record, rejected_record, touchpoint_record
from services.ingest.errors import REFUSALS, Refusal
from services.ingest.rates import Bucket, bucket_of
from services.ingest.reasons import rejection
from services.ingest.revocations import revocation, withdrawal
from services.ingest.sources import Senders, key_of
from shared.identifiers import IdentityRules
from shared.keys import Source, hashed
from shared.touchpoint import Command, Revocation
from tests.support.sent import AT, decide, sent

ID = "6aee2a7e-9871-4a73-92eb-6f91cf681772"


def basic(user: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:".encode())


@pytest.mark.parametrize(
    ("headers", "query", "in_body", "expected"),
    [
        ({b"authorization": basic("k1"), b"x-write-key": b"k2"}, {"writeKey": "k3"}, "k4", "k1"),
        ({b"authorization": b"Bearer k1"}, {"writeKey": "k3"}, "k4", "k1"),
        ({b"x-write-key": b"k2"}, {"writeKey": "k3"}, "k4", "k2"),
        ({}, {"writeKey": "k3"}, "k4", "k3"),
        ({}, {}, "k4", "k4"),
        ({b"x-write-key": b"id:secret"}, {}, "id:***", "id:secret"),
        ({}, {}, "id:***", None),
        ({b"authorization": basic("")}, {}, "k4", "k4"),
        ({b"authorization": b"Basic ###"}, {}, "k4", "k4"),
        ({b"authorization": b"Digest x"}, {}, None, None),
        ({}, {}, 17, None),
    ],
)
def test_the_key_is_found_in_this_order(
    headers: dict[bytes, bytes], query: dict[str, str], in_body: object, expected: str | None
) -> None:
    assert key_of(headers, query, in_body) == expected


def test_a_sender_is_found_by_plain_and_by_hashed_keys() -> None:
    senders = Senders([Source(name="shop", kind="server", write_keys=["k1", hashed("k2")])], lambda: AT)
    assert {senders.find(key).source.name for key in ("k1", "k2")} == {"shop"}
    for key, code in ((None, "key_missing"), ("", "key_missing"), (hashed("k2"), "key_unknown")):
        with pytest.raises(Refusal) as refused:
            senders.find(key)
        assert refused.value.code == code


def test_a_source_takes_from_its_origins_only() -> None:
    source = Source(name="shop", kind="browser", write_keys=["k"], origins=["https://shop.example/"])
    sender = Senders([source], lambda: AT).find("k")
    assert sender.takes_from("https://Shop.example")
    assert sender.takes_from(None)
    assert not sender.takes_from("https://other.example")


def test_a_bucket_lets_a_rate_through() -> None:
    bucket = Bucket(10, 1)
    assert [bucket.take(5, 0.0), bucket.take(5, 0.0)] == [None, None]
    assert bucket.take(1, 0.0) == pytest.approx(0.1)
    assert bucket.take(1, 0.1) is None


def test_what_is_bigger_than_a_bucket_passes_when_it_is_full() -> None:
    bucket = Bucket(10, 1)
    assert bucket.take(100, 0.0) is None
    assert bucket.take(1, 5.0) == pytest.approx(4.1)
    assert bucket.take(100, 11.0) is None


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 2)), max_size=40))
def test_a_bucket_never_lets_more_through_than_its_rate_one_burst_and_one_debt(calls: list[tuple[int, float]]) -> None:
    bucket, now, passed = Bucket(10, 1), 0.0, 0
    for n, pause in calls:
        now += pause
        passed += n if bucket.take(n, now) is None else 0
        assert passed <= 10 * now + 10 + 20.001  # 20: the debt that a request bigger than the bucket may make


def test_rates_are_read_and_a_rate_of_nothing_is_a_mistake() -> None:
    assert bucket_of(None) is None
    minute = bucket_of("120 / minute")
    assert minute is not None
    assert (minute.size, minute.per_second) == (120, 2)
    with pytest.raises(ValueError, match="lets nothing through"):
        bucket_of("0/second")


def test_every_refusal_is_a_problem_with_code_and_message() -> None:
    for code, (status, title) in REFUSALS.items():
        problem = msgspec.json.decode(Refusal(code).body())
        assert (problem["status"], problem["code"], problem["title"], problem["message"]) == (
            status,
            code,
            title,
            title,
        )
        assert problem["detail"]


def test_only_who_should_wait_is_told_to_and_in_whole_seconds() -> None:
    assert Refusal("rate_exceeded", retry_after=0.2).headers == [(b"retry-after", b"1")]
    assert Refusal("log_unavailable", retry_after=2.1).headers == [(b"retry-after", b"3")]
    assert Refusal("body_not_json").headers == []


def test_a_preflight_without_headers_is_told_what_clients_use() -> None:
    allowed = dict(preflight_headers({b"origin": b"https://x.y"}))[b"access-control-allow-headers"]
    assert b"authorization" in allowed
    assert b"x-retry-count" in allowed


def test_a_touchpoints_record_carries_trace_and_cloudevents_attributes() -> None:
    decision = decide(sent(timestamp="2026-11-23T09:00:00Z"))
    assert isinstance(decision, Accepted)
    record = touchpoint_record(decision, b"00-a-b-00", b"shop")
    assert (record.key, record.value) == (b"user_id:u1", decision.value)
    assert dict(record.headers) == {
        "traceparent": b"00-a-b-00", "ce_id": b"m1", "ce_source": b"shop", "ce_type": b"track",
        "ce_specversion": b"1.0", "ce_time": b"2026-11-23T09:00:00Z",
    }  # fmt: skip


def letter(original: bytes) -> Rejected:
    record = rejected_record(
        rejection("too_deep"), 3, source="shop", received_at=AT, original=original, traceparent=b"t"
    )
    return msgspec.json.decode(record.value, type=Rejected)


def test_a_rejected_touchpoint_is_kept_as_it_was_sent() -> None:
    kept = letter(b'{"a": NaN}')
    assert (kept.index, kept.source, kept.reason, kept.data, kept.encoding) == (
        3,
        "shop",
        "too_deep",
        '{"a": NaN}',
        "utf-8",
    )


def test_what_is_no_text_is_kept_as_base64() -> None:
    assert (letter(b"\xff\x00").encoding, letter(b"\xff\x00").data) == ("base64", b64encode(b"\xff\x00").decode())


def test_what_is_kept_is_cut_between_characters() -> None:
    assert letter(b"a" + "é".encode() * MAX_KEPT).data == "a" + "é" * (MAX_KEPT // 2 - 1)
    assert letter(b"a" * (MAX_KEPT + 1)).data == "a" * MAX_KEPT


def revoked(lower: str | None = None, higher: str | None = None, alias: tuple[str, str] | None = None) -> Revocation:
    return revocation(id_=ID, at=AT, lower=lower, higher=higher, alias=alias, reason="", rules=IdentityRules())


def test_a_revocation_carries_identifiers_as_touchpoints_do() -> None:
    command = revoked("email: Jo@Example.com ", "user_id:u1")
    assert (command.lower, command.higher) == ("email:jo@example.com", "user_id:u1")
    assert revoked("anonymous_id:a:b", "phone:+49 30 12").lower == "anonymous_id:a:b"
    assert revoked(alias=(" u2", "u1")).alias == ("u2", "u1")


@pytest.mark.parametrize(
    ("lower", "higher", "alias"),
    [
        (None, None, None),
        ("email:a@b.c", None, None),
        ("email:a@b.c", "user_id:u1", ("u1", "u2")),
        ("user_id:u1", "email:a@b.c", None),
        ("email:a@b.c", "email:d@e.f", None),
        ("colour:red", "user_id:u1", None),
        ("email", "user_id:u1", None),
        ("email:null", "user_id:u1", None),
        ("email:a@b.c", "user_id:" + "x" * 257, None),
        ("email:a\0", "user_id:u1", None),
        (None, None, ("u1", " u1")),
        (None, None, ("u1", "none")),
    ],
)
def test_what_can_be_no_revocation_is_refused(
    lower: str | None, higher: str | None, alias: tuple[str, str] | None
) -> None:
    with pytest.raises(Refusal) as refused:
        revoked(lower, higher, alias)
    assert refused.value.status == 422


def test_only_what_can_be_an_id_is_withdrawn() -> None:
    assert withdrawal(ID.upper(), AT, "").id == ID
    with pytest.raises(Refusal) as refused:
        withdrawal("7", AT, "")
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "command",
    [
        Revocation(id=ID, received_at=AT, lower="email:a", higher="user_id:u"),
        Revocation(id=ID, received_at=AT, alias=("u2", "u1")),
        withdrawal(ID, AT, "why"),
    ],
)
def test_commands_are_read_back_from_the_log_and_those_of_one_revocation_meet(command: Command) -> None:
    record = command_record(command, b"t")
    assert record.key == ID.encode()
    assert msgspec.json.decode(record.value, type=Command) == command
    assert datetime.fromisoformat(dict(record.headers)["ce_time"].decode()) == AT.astimezone(UTC)
