"""The tracking paths in the served OpenAPI: they are answered in front of the app that knows it."""

from __future__ import annotations

from typing import Any, Final

from services.ingest import docs_events
from services.ingest.dialects.segment import BATCHES, CALLS
from services.ingest.docs_dialects import HOOK, HOOKS, PIXELS, POSTS, SCHEMAS
from services.ingest.errors import REFUSALS, Refusal
from services.ingest.reasons import REASONS

_TOUCHPOINT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "messageId": {"type": "string", "description": "sent twice, it counts once"},
        "userId": {"type": ["string", "integer", "null"]},
        "anonymousId": {"type": ["string", "integer", "null"]},
        "event": {"type": ["string", "null"]},
        "name": {"type": ["string", "null"]},
        "previousId": {"type": ["string", "integer", "null"]},
        "groupId": {"type": ["string", "integer", "null"]},
        "timestamp": {"type": ["string", "null"], "format": "date-time"},
        "sentAt": {"type": ["string", "null"], "format": "date-time"},
        "properties": {"type": ["object", "null"]},
        "traits": {"type": ["object", "null"]},
        "context": {"type": ["object", "null"]},
    },
}
_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "track": {"userId": "u1", "event": "Order Completed", "properties": {"revenue": 129.95}},
    "identify": {"userId": "u1", "anonymousId": "a1", "traits": {"email": "jo@example.com"}},
    "page": {"anonymousId": "a1", "name": "Home", "context": {"page": {"url": "https://shop.example/"}}},
    "screen": {"userId": "u1", "name": "Basket"},
    "group": {"userId": "u1", "groupId": "g1"},
    "alias": {"userId": "u1", "previousId": "a1"},
}
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["success", "accepted", "rejected"],
    "properties": {
        "success": {"const": True},
        "accepted": {"type": "integer"},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "id", "reason", "message"],
                "properties": {
                    "index": {"type": "integer", "description": "its place in the array that was sent"},
                    "id": {"type": ["string", "null"]},
                    "reason": {"enum": sorted(REASONS)},
                    "message": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "success": True,
        "accepted": 2,
        "rejected": [
            {"index": 1, "id": "m2", "reason": "identifier_missing", "message": REASONS["identifier_missing"]}
        ],
    },
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["title", "status", "detail", "code", "message"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"enum": sorted(REFUSALS)},
        "message": {"type": "string"},
    },
}
_SNIPPET: Final[dict[str, Any]] = {
    "tags": ["clients"],
    "summary": "The snippet for pages",
    "description": '`<script async src="https://HOST/t.js" data-key="KEY"></script>`; `/try` shows it at work.',
    "responses": {
        "200": {"description": "the script", "content": {"text/javascript": {"schema": {"type": "string"}}}},
        "304": {"description": "what `If-None-Match` names is still it"},
    },
}
_KEYS: Final = {
    "write key": {"type": "http", "scheme": "basic", "description": "a write key as the user, no password"},
    "write key as a header": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
}
_TRACKING_STATUSES: Final = (400, 401, 403, 413, 415, 429, 500, 503)
_HOOK_STATUSES: Final = (*_TRACKING_STATUSES, 404)
_OTHER_STATUSES: Final = (400, 401, 403, 404, 422, 500, 503)


def extend(schema: dict[str, Any]) -> dict[str, Any]:
    """The app's OpenAPI with the tracking paths, and every refusal on every path."""
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(
        {"Touchpoint": _TOUCHPOINT, "Batch": _batch(), "Answer": _ANSWER, "Problem": _PROBLEM, **SCHEMAS}
        | docs_events.SCHEMAS
    )
    components.setdefault("securitySchemes", {}).update(_KEYS)
    schema["paths"]["/t.js"] = {"get": _SNIPPET}
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"] = {**operation["responses"], **_refusals(_OTHER_STATUSES)}
    for path, type_ in CALLS.items():
        schema["paths"][f"/v1/{path}"] = {"post": _operation(f"Send a {type_}", "Touchpoint", _EXAMPLES[type_])}
    for path in BATCHES:
        schema["paths"][f"/v1/{path}"] = {"post": _operation("Send many touchpoints", "Batch", _batch_example())}
    for path, shown in POSTS.items():
        schema["paths"][path] = {"post": _operation(shown.summary, shown.sent, shown.example, shown.answered)}
    schema["paths"][HOOKS] = {"post": HOOK | {"responses": {"200": _taken("Answer"), **_refusals(_HOOK_STATUSES)}}}
    for path, pixel in PIXELS.items():
        schema["paths"][path] = {"get": pixel}
    schema["paths"].update(docs_events.paths(_refusals))
    return schema


def _batch() -> dict[str, Any]:
    item = {
        "allOf": [
            {"$ref": "#/components/schemas/Touchpoint"},
            {"type": "object", "required": ["type"], "properties": {"type": {"enum": sorted(_EXAMPLES)}}},
        ]
    }
    return {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "maxItems": 2500, "items": item},
            "context": {"type": ["object", "null"], "description": "merged into each touchpoint, whose own wins"},
            "sentAt": {"type": ["string", "null"], "format": "date-time"},
            "writeKey": {"type": ["string", "null"]},
        },
    }


def _batch_example() -> dict[str, Any]:
    return {"batch": [{"type": type_, **example} for type_, example in _EXAMPLES.items()]}


def _operation(summary: str, schema: str, example: dict[str, Any], answer: str = "Answer") -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    strict = {
        "name": "strict", "in": "query", "schema": {"enum": ["1"]},
        "description": "400 if any touchpoint is rejected, and then none is accepted",
    }  # fmt: skip
    return {
        "tags": ["tracking"],
        "summary": summary,
        "security": [{name: []} for name in _KEYS],
        "parameters": [strict],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": _taken(answer),
            **_refusals(_TRACKING_STATUSES),
        },
    }


def _taken(answer: str) -> dict[str, Any]:
    return {
        "description": "The log has what was accepted; the rest is named with its reason.",
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}},
    }


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): _refusal(status) for status in statuses}


def _refusal(status: int) -> dict[str, Any]:
    codes = [code for code, (of, _) in REFUSALS.items() if of == status]
    return {
        "description": "; ".join(f"`{code}`: {REFUSALS[code][1]}" for code in codes),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": Refusal(codes[0]).problem(),
            }
        },
    }
