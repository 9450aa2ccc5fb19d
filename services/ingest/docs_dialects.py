"""What other clients send and get, for the OpenAPI: schemas, and a row for each path that is no alias of another."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from services.ingest.accept import TYPES


class Shown(NamedTuple):
    """One operation: names of SCHEMAS for what is sent and answered, and an example of what is sent."""

    summary: str
    sent: str
    example: dict[str, Any]
    answered: str


_EVENT: Final[dict[str, Any]] = {
    "event": "$pageview",
    "uuid": "01939c1e-0000-7000-8000-000000000001",
    "properties": {"distinct_id": "d1", "$device_id": "d1", "$current_url": "https://shop.example/"},
}
_COUNTS: Final[dict[str, Any]] = {
    "accepted": {"type": "integer"},
    "rejected": {"$ref": "#/components/schemas/Answer/properties/rejected"},
}


def _answer(own: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    told = {"accepted": 1, "rejected": []}
    return {
        "type": "object",
        "required": [*own, "accepted", "rejected"],
        "properties": own | _COUNTS,
        "example": example | told,
    }


SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "PostHogEvent": {
        "type": "object",
        "properties": {
            "event": {"type": "string"},
            "distinct_id": {"type": ["string", "integer"]},
            "uuid": {"type": "string", "description": "sent twice, it counts once"},
            "timestamp": {"type": ["string", "null"], "format": "date-time"},
            "properties": {"type": ["object", "null"]},
            "$set": {"type": ["object", "null"]},
            "$set_once": {"type": ["object", "null"]},
            "api_key": {"type": "string"},
        },
    },
    "PostHogBatch": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "api_key": {"type": "string"},
            "batch": {"type": "array", "maxItems": 2500, "items": {"$ref": "#/components/schemas/PostHogEvent"}},
            "sent_at": {"type": ["string", "null"], "format": "date-time"},
        },
    },
    "PostHogAnswer": _answer({"status": {"const": "Ok"}}, {"status": "Ok"}),
    "PostHogResults": _answer(
        {"results": {"type": "object", "description": "by uuid", "additionalProperties": {
            "type": "object", "required": ["result"],
            "properties": {"result": {"enum": ["ok", "drop"]}, "details": {"type": "string"}},
        }}},
        {"results": {_EVENT["uuid"]: {"result": "ok"}}},
    ),
    "JitsuAnswer": _answer({"ok": {"const": True}}, {"ok": True}),
}  # fmt: skip

POSTS: Final[dict[str, Shown]] = {
    "/batch": Shown("PostHog: send many events", "PostHogBatch", {"batch": [_EVENT]}, "PostHogAnswer"),
    "/e": Shown("PostHog: send an event", "PostHogEvent", _EVENT, "PostHogAnswer"),
    "/i/v1/analytics/events": Shown(
        "PostHog, v1: send many events", "PostHogBatch", {"batch": [_EVENT]}, "PostHogResults"
    ),
    "/api/s/track": Shown(
        "Jitsu: send a track", "Touchpoint", {"userId": "u1", "event": "Order Completed"}, "JitsuAnswer"
    ),
}

_NAMES: Final[dict[str, Any]] = {
    "writeKey": "demo-write", "anonymousId": "a1", "userId": "u1", "event": "Mail Opened",
    "properties.mail": "welcome", "data": "eyJhbm9ueW1vdXNJZCI6ImExIiwiZXZlbnQiOiJNYWlsIE9wZW5lZCJ9",
}  # fmt: skip


def pixel(types: list[str]) -> dict[str, Any]:
    """An image whose URL is a touchpoint."""
    type_ = {"name": "type", "in": "path", "required": True, "schema": {"enum": types}, "example": types[0]}
    named = [
        {"name": name, "in": "query", "schema": {"type": "string"}, "example": example}
        for name, example in _NAMES.items()
    ]
    image = {"image/gif": {"schema": {"type": "string", "format": "binary"}}}
    sentence = "Always an image; `throughline-refused` and `throughline-rejected` say what went wrong."
    return {
        "tags": ["tracking"],
        "summary": "A pixel: names with dots, or `data` with base64 of JSON",
        "parameters": [type_, *named],
        "responses": {"200": {"description": sentence, "content": image}},
    }


PIXELS: Final[dict[str, dict[str, Any]]] = {
    "/v1/pixel/{type}": pixel(sorted(TYPES, reverse=True)),
    "/pixel/v1/{type}": pixel(["track", "page"]),
}

HOOKS: Final = "/v1/hooks/{source}"
HOOK: Final[dict[str, Any]] = {
    "tags": ["tracking"],
    "summary": "Send a webhook of any product",
    "description": "The mapping of the source makes touchpoints of it. Where webhooks are signed, no key is needed.",
    "security": [{"write key": []}, {"write key as a header": []}, {}],
    "parameters": [
        {"name": "source", "in": "path", "required": True, "schema": {"type": "string"},
         "description": "the name of a source that has a `hook`", "example": "till"},
        {"name": "writeKey", "in": "query", "schema": {"type": "string"},
         "description": "for senders that can send no header"},
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": ["object", "array"]},
                "example": {"receipt": "R-1001", "at": "2026-11-23T11:00:00+01:00", "store": "Bonn 1",
                            "customer": {"card": "LC-77"}, "total": "24.90", "currency": "EUR"},
            },
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        },
    },
}  # fmt: skip
