"""Snowplow: what trackers were recorded to send becomes touchpoints, and no answer makes them loop."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from services.ingest.accept import Accepted
from services.ingest.dialects.dialect import Outcome
from services.ingest.dialects.pixel import GIF
from services.ingest.dialects.raw import Parsed
from services.ingest.dialects.snowplow import ROUTES, refuse
from services.ingest.errors import REFUSALS, Refusal
from services.ingest.reasons import Rejection
from shared.touchpoint import Touchpoint
from tests.support.calls import Asked
from tests.support.sent import decide_parsed

TP2 = "/com.snowplowanalytics.snowplow/tp2"
NOT_SENT_AGAIN = {400, 401, 403, 410, 422}
UNTIL_IT_WORKS = {429, 500, 503}
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
LINK = "iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1"
AT = "1795428000123"  # 2026-11-23T10:00:00.123Z


def payload(**fields: Any) -> dict[str, Any]:
    """An event as the Python tracker sends it."""
    return {"e": "pv", "eid": "5b6d", "dtm": AT, "stm": "1795428000000", "tv": "py-1.1.0", "tna": "n", "aid": "shop",
            "p": "pc", "uid": "u1", **fields}  # fmt: skip


def body(*events: Any) -> bytes:
    return json.dumps({"schema": PAYLOAD_DATA, "data": events}).encode()


def posted(given: bytes, **headers: str) -> Parsed:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return ROUTES[TP2].parse(Asked("POST", TP2, {}, named, given))


def taken(event: dict[str, Any], **headers: str) -> Touchpoint:
    [decision] = decide_parsed(posted(body(event), **headers))
    assert isinstance(decision, Accepted), decision
    return decision.touchpoint


def rejected(event: dict[str, Any]) -> Rejection:
    [decision] = decide_parsed(posted(body(event)))
    assert isinstance(decision, Rejection), decision
    return decision


def packed(document: Any, *, padded: bool) -> str:
    text = urlsafe_b64encode(json.dumps(document, ensure_ascii=False).encode()).decode()
    return text if padded else text.rstrip("=")


def described(schema: str, data: Any) -> dict[str, Any]:
    return {"schema": UNSTRUCT, "data": {"schema": schema, "data": data}}


def test_a_page_view_is_a_page_with_its_address() -> None:
    event = payload(page="Käse 🧀", url="https://shop.example/käse?utm_source=x&utm_medium=email#top",
                    refr="https://www.google.com/", lang="de-AT", tz="Europe/Vienna", res="1920x1080", vp="800x600",
                    ua="Mozilla/5.0", ip="192.0.2.7", cd="24")  # fmt: skip
    page = taken(event)
    assert (page.id, page.type, page.event, page.ids, page.channel) == (
        "5b6d", "page", "Käse 🧀", {"user_id": "u1"}, "email",
    )  # fmt: skip
    assert page.time.isoformat() == "2026-11-23T10:00:00.123000+00:00"
    assert page.flags == ()
    assert page.context == {
        "page": {"url": event["url"], "path": "/käse", "search": "?utm_source=x&utm_medium=email",
                 "referrer": "https://www.google.com/", "title": "Käse 🧀"},
        "locale": "de-AT", "timezone": "Europe/Vienna", "userAgent": "Mozilla/5.0", "ip": "192.0.2.7",
        "screen": {"width": 1920, "height": 1080, "innerWidth": 800, "innerHeight": 600},
        "library": {"name": "snowplow-py", "version": "1.1.0"},
        "snowplow": {"tna": "n", "aid": "shop", "p": "pc", "cd": "24"},
    }  # fmt: skip


def test_page_pings_structured_events_and_sales_are_tracks_with_numbers() -> None:
    ping = taken(payload(e="pp", url="https://shop.example/", pp_mix="0", pp_max="10", pp_miy="5", pp_may="900"))
    assert (ping.event, ping.properties) == ("Page Ping", {"min_x": 0, "max_x": 10, "min_y": 5, "max_y": 900})
    deed = taken(payload(e="se", se_ca="shop", se_ac="add-to-basket", se_la="web", se_pr="pcs", se_va="2.5"))
    assert (deed.event, deed.properties) == (
        "add-to-basket", {"category": "shop", "label": "web", "property": "pcs", "value": 2.5},
    )  # fmt: skip
    sale = taken(payload(e="tr", tr_id="0042", tr_tt="129.95", tr_cu="EUR"))
    assert (sale.event, sale.properties) == ("Transaction", {"order_id": "0042", "total": 129.95, "currency": "EUR"})
    item = taken(payload(e="ti", ti_id="0042", ti_sk="7", ti_pr="1e2", ti_qu="many"))
    assert (item.event, item.properties) == (
        "Transaction Item", {"order_id": "0042", "sku": "7", "price": 100.0, "quantity": "many"},
    )  # fmt: skip


@pytest.mark.parametrize("padded", [True, False])
def test_self_describing_events_are_named_by_their_schema(padded: bool) -> None:
    document = described(LINK, {"targetUrl": "https://zoë.example/?a=>>>", "n": 1})
    for form in ({"ue_px": packed(document, padded=padded)}, {"ue_pr": json.dumps(document)}):
        link = taken(payload(e="ue", **form))
        assert (link.type, link.event, link.properties) == ("track", "link_click", document["data"]["data"])
        assert link.context["snowplow"]["schema"] == LINK


def test_a_screen_view_is_a_screen() -> None:
    schema = "iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0"
    screen = taken(payload(e="ue", ue_px=packed(described(schema, {"name": "Basket", "id": "s1"}), padded=False)))
    assert (screen.type, screen.event, screen.channel, screen.properties) == (
        "screen", "Basket", "app", {"name": "Basket", "id": "s1"},
    )  # fmt: skip


@pytest.mark.parametrize("padded", [True, False])
def test_contexts_are_kept_by_the_names_of_their_schemas(padded: bool) -> None:
    product = "iglu:com.acme/product/jsonschema/1-0-0"
    entities = {
        "schema": CONTEXTS,
        "data": [
            {"schema": "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", "data": {"id": "w1"}},
            {"schema": product, "data": {"sku": "1"}},
            {"schema": product, "data": {"sku": "2"}},
        ],
    }
    for form in ({"cx": packed(entities, padded=padded)}, {"co": json.dumps(entities)}):
        kept = taken(payload(**form)).context["contexts"]
        assert kept == {"web_page": {"id": "w1"}, "product": [{"sku": "1"}, {"sku": "2"}]}


@pytest.mark.parametrize(
    "text", ["no base64!", "eyJ", "[1", packed([1], padded=True), packed({"data": 1}, padded=True)]
)
def test_contexts_that_cannot_be_read_cost_nothing_else(text: str) -> None:
    assert taken(payload(cx=text)).context["contexts"] in (text, [1], {"data": 1})


@pytest.mark.parametrize(
    "text", ["no base64!", "eyJ", packed([1], padded=True), packed(described("", {}), padded=True)]
)
def test_a_self_describing_event_that_cannot_be_read_is_rejected(text: str) -> None:
    wrong = rejected(payload(e="ue", ue_px=text))
    assert (wrong.reason, wrong.id) == ("event_missing", "5b6d")


def test_identifiers_are_the_users_the_browsers_and_the_devices() -> None:
    ids = taken(payload(duid="d1", tnuid="t1", nuid="n1")).ids
    assert ids == {"user_id": "u1", "anonymous_id": "d1", "device_id": "t1"}


def test_a_mobile_session_knows_the_device() -> None:
    session = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2"
    entities = {"schema": CONTEXTS, "data": [{"schema": session, "data": {"userId": "device-1", "sessionId": "s"}}]}
    mobile = payload(p="mob", uid=None, cx=packed(entities, padded=False))
    assert taken(mobile).ids == {"device_id": "device-1"}
    assert taken({**mobile, "p": "web", "duid": "device-1"}).ids == {"anonymous_id": "device-1"}


def test_anonymous_tracking_has_its_session_if_any() -> None:
    session = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2"
    nobody = {"userId": "00000000-0000-0000-0000-000000000000", "sessionId": "s1"}
    entities = json.dumps({"schema": CONTEXTS, "data": [{"schema": session, "data": nobody}]})
    assert taken(payload(uid=None, sid="s1", co=entities)).ids == {"anonymous_id": "s1"}
    assert taken(payload(sid="s1")).ids == {"user_id": "u1"}
    assert rejected(payload(uid=None)).reason == "identifier_missing"


def test_who_asks_to_be_anonymous_has_no_address_and_no_network_id() -> None:
    event = payload(ip="192.0.2.7", nuid="n1", tnuid="t1", duid="d1")
    anonymous = taken(event, sp_anonymous="*")
    assert anonymous.ids == {"user_id": "u1", "anonymous_id": "d1"}
    assert "ip" not in anonymous.context
    assert "192.0.2.7" not in json.dumps(anonymous.context)


def test_the_requests_user_agent_is_the_customers_in_a_browser_only() -> None:
    assert taken(payload(p="web"), user_agent="Mozilla/5.0").context["userAgent"] == "Mozilla/5.0"
    assert "userAgent" not in taken(payload(p="srv"), user_agent="python-requests/2").context


def test_a_browser_without_a_referrer_came_directly() -> None:
    assert taken(payload(p="web", url="https://shop.example/")).acquisition == "Direct"
    assert taken(payload(p="srv", url="https://shop.example/")).acquisition is None


def test_a_sent_time_of_whole_seconds_before_the_event_moves_nothing() -> None:
    late = taken(payload(dtm="1795427990999", stm="1795427990000"))
    assert (late.time.isoformat(), late.flags) == ("2026-11-23T09:59:50.999000+00:00", ())


def test_a_wrong_clock_is_corrected_but_a_true_time_never() -> None:
    an_hour_behind = payload(dtm="1795424400123", stm="1795424400123")
    assert taken(an_hour_behind).time.isoformat() == "2026-11-23T10:00:00.123000+00:00"
    assert taken({**an_hour_behind, "ttm": "1795424400123"}).time.isoformat() == "2026-11-23T09:00:00.123000+00:00"


@pytest.mark.parametrize("dtm", ["soon", "9" * 40, "", True])
def test_a_time_that_is_none_is_rejected(dtm: Any) -> None:
    assert rejected(payload(dtm=dtm)).reason in ("time_invalid", "time_out_of_range")


def test_an_unknown_event_is_rejected_with_a_sentence_about_it() -> None:
    wrong = rejected(payload(e="xx"))
    assert (wrong.reason, wrong.message.partition(":")[0]) == ("type_unknown", "`e` is one of pv, pp, se, ue, tr, ti")


def test_a_bad_event_spoils_no_neighbour_and_keeps_its_bytes() -> None:
    parsed = posted(body(payload(), 7, payload(uid="\0x"), payload(eid="last", page="a\0b\ud800")))
    decisions = decide_parsed(parsed)
    assert [type(one) for one in decisions] == [Accepted, Rejection, Rejection, Accepted]
    assert (parsed.original(1), parsed.original(2)) == (b"7", json.dumps(payload(uid="\0x")).encode())
    last = decisions[3]
    assert isinstance(last, Accepted)
    assert last.touchpoint.event == "ab\ufffd"


def test_the_first_app_id_of_a_request_is_its_sender() -> None:
    assert posted(body({"e": "pv"}, payload(aid="a1"), payload(aid="a2"))).app_id == "a1"
    assert posted(body({"e": "pv"})).app_id is None


def test_a_pixel_is_one_event_and_answered_with_an_image() -> None:
    dialect = ROUTES["/i"]
    assert dialect.answer(Outcome(1, [])).body == GIF
    query = {**payload(e="se", se_ac="open", page="é"), "writeKey": "secret"}
    parsed = dialect.parse(Asked("GET", "/i", query, {}, b""))
    [decision] = decide_parsed(parsed)
    assert isinstance(decision, Accepted)
    assert (decision.touchpoint.event, parsed.app_id) == ("open", "shop")
    assert b"secret" not in decision.value


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"", "body_not_json"),
        (b"[]", "body_not_an_object"),
        (b"{}", "batch_missing"),
        (b'{"data":{}}', "batch_missing"),
    ],
)
def test_a_body_that_is_none_is_refused(given: bytes, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        posted(given)
    assert refused.value.code == code


@pytest.mark.parametrize("code", REFUSALS)
def test_no_refusal_is_sent_again_in_vain(code: str) -> None:
    answer = refuse(Refusal(code))
    assert answer.status in NOT_SENT_AGAIN | UNTIL_IT_WORKS
    assert json.loads(answer.body)["status"] == answer.status
