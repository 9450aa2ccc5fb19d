"""Snowplow's paths and CloudEvents' in the OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Responses = dict[str, Any]

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_PAYLOAD: Final[dict[str, Any]] = {
    "e": "se", "eid": "9f4c1f5e-6f1c-4b7e-8f0e-0f4f2b1f7a11", "aid": "shop", "p": "web", "tv": "js-4.10.1",
    "duid": "d1", "se_ca": "shop", "se_ac": "Product Viewed",
}  # fmt: skip
_PAYLOADS: Final[dict[str, Any]] = {
    "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "data": [_PAYLOAD],
}
_EVENT: Final[dict[str, Any]] = {
    "specversion": "1.0", "id": "1", "source": "/till/7", "type": "Order Completed", "subject": "u1",
    "data": {"revenue": 12.5},
}  # fmt: skip
_REQUIRED: Final = ["specversion", "id", "source", "type"]

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "SnowplowPayloads": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "schema": _TEXT,
            "data": {"type": "array", "items": {"type": "object", "additionalProperties": _TEXT}},
        },
    },
    "CloudEvent": {
        "type": "object",
        "required": _REQUIRED,
        "properties": {
            **dict.fromkeys((*_REQUIRED, "subject", "datacontenttype", "dataschema"), _TEXT),
            "time": {"type": "string", "format": "date-time"},
            "data": {},
            "data_base64": _TEXT,
        },
    },
}


def paths(refusals: Callable[[tuple[int, ...]], Responses]) -> dict[str, dict[str, Any]]:
    """The operations by path and method; ``refusals`` describes the answers of some statuses."""
    of_snowplow, of_events = (
        refusals((400, 401, 403, 422, 500, 503)),
        refusals((400, 401, 403, 413, 415, 429, 500, 503)),
    )
    event = _events(of_events)
    return {
        "/com.snowplowanalytics.snowplow/tp2": {"post": _payloads(of_snowplow)},
        "/i": {"get": _pixel(of_snowplow)},
        "/events": {"post": event, "put": event | {"summary": "CloudEvents: send one or many, as POST does"}},
    }


def _payloads(refused: Responses) -> dict[str, Any]:
    return {
        "tags": ["tracking"],
        "summary": "Snowplow: send many events, by a key or by the app id `aid`",
        "requestBody": {"required": True, "content": {"application/json": _content("SnowplowPayloads", _PAYLOADS)}},
        "responses": {"200": _taken("The log has what was accepted; the rest is named with its reason."), **refused},
    }


def _pixel(refused: Responses) -> dict[str, Any]:
    image = {"image/gif": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "tags": ["tracking"],
        "summary": "Snowplow: send an event as a pixel",
        "parameters": [_parameter("query", name, value) for name, value in _PAYLOAD.items()],
        "responses": {
            "200": {"description": "The log has it, or why not.", "content": image},
            **refused,
        },
    }


def _events(refused: Responses) -> dict[str, Any]:
    many = {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}, "example": [_EVENT]}
    return {
        "tags": ["tracking"],
        "summary": "CloudEvents: send one or many; with ce- headers the body is the data",
        "parameters": [
            _parameter("query", "access_token", "demo-write"),
            *(_parameter("header", f"ce-{name}", _EVENT[name]) for name in _EVENT if name != "data"),
        ],
        "requestBody": {
            "content": {
                "application/cloudevents+json": _content("CloudEvent", _EVENT),
                "application/cloudevents-batch+json": many,
                "application/json": {"schema": {}, "example": _EVENT["data"]},
            }
        },
        "responses": {"202": _taken("The log has what was accepted; the rest is named with its reason."), **refused},
    }


def _content(schema: str, example: Any) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}


def _taken(description: str) -> dict[str, Any]:
    answer = {"schema": {"$ref": "#/components/schemas/Answer"}}
    return {"description": description, "content": {"application/json": answer}}


def _parameter(place: str, name: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": _TEXT, "example": example}
