"""How POST /v1/events is described in OpenAPI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

from metering import cloudevents, mcp
from metering.envelope import EVENTS_MAX
from metering.shapes import COMPOUND_FIELDS, MEASUREMENTS_MAX, STATUSES, TOOL_FIELDS

DESCRIPTION = f"""\
Takes one event, a list of events or `{{"events": […]}}` with up to {EVENTS_MAX}
events, in either of two shapes. What is answered `accepted` is durable. An event id
is unique for ever: the same event again is a `duplicate` without effect, another
event under a known id is refused with `event_conflict`.

Send `Authorization: Bearer svc_…` (a service key with the scope `ingest`). Callers of
products that allow it report for themselves with their own key, as
`Bearer sk_…` or as Basic with client id and secret.

CloudEvents 1.0 are taken too, in structured, batch and binary mode.

A batch is always answered 200, with one item per event, unless the batch itself
cannot be read; a single event that is refused is answered with its own status.
"""
DURABLE = "Stored, or known already. A batch lists its events in their order."
REFUSALS = {
    400: "Malformed: `code` says how, `field` where.",
    401: "The credentials are not valid.",
    403: "The service key lacks the scope, or callers do not report this product.",
    404: "A customer, agent, team, product or session is not known here.",
    409: "The same event is being stored on another connection; send it again.",
    413: "The body or the batch is too large.",
    415: "The body is not JSON in UTF-8.",
    422: "Well-formed and refused: a conflict, or too old.",
    503: "Nothing was stored; send it again after `Retry-After` seconds.",
}

TEXT: dict[str, Any] = {"type": "string", "maxLength": 255}
QUANTITY = {
    "oneOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
    ],
    "description": "Up to 18 digits before the point and 12 after it, kept exactly.",
}
WHOLE = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "format": "date-time"}
PROPERTIES = {
    "type": "object",
    "maxProperties": 50,
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
BOOLEAN = {"type": "boolean"}
# What is not a short text.
COMPOUND_TYPES: dict[str, Any] = {
    "timestamp": TIME,
    "properties": PROPERTIES,
    "measurements": {
        "type": "array",
        "minItems": 1,
        "maxItems": MEASUREMENTS_MAX,
        "items": {
            "type": "object",
            "required": ["metricKey", "value"],
            "properties": {"metricKey": TEXT, "value": QUANTITY},
            "additionalProperties": False,
        },
    },
    "usage": {
        "oneOf": [
            {"type": "object"},
            {"type": "array", "items": {"type": ["object", "string"]}},
        ],
        "description": "The provider's own usage block, its whole response, or the "
        "events of its stream; measured by us. Content in it is not kept.",
    },
    "cost": {
        "type": "object",
        "required": ["amount", "currency"],
        "properties": {"amount": QUANTITY, "currency": TEXT},
        "description": "What the provider says it cost; kept beside ours.",
    },
    "degraded": BOOLEAN,
}
TOOL_TYPES: dict[str, Any] = {
    "timestamp": TIME,
    "recorded_timestamp": TIME,
    "ingest_timestamp": TIME,
    "properties": PROPERTIES,
    "execution_duration_ms": QUANTITY,
    "execution_status": {"type": "string", "enum": sorted(STATUSES)},
    "input_tokens": WHOLE,
    "output_tokens": WHOLE,
    "retry_count": WHOLE,
    "is_parallel_call": BOOLEAN,
    "error_message": {"type": "string"},
    "degraded": BOOLEAN,
    "mcp": {
        "type": "object",
        "properties": {
            **dict.fromkeys(mcp.TEXTS, TEXT),
            **dict.fromkeys(sorted(mcp.BOOLEANS), BOOLEAN),
            **{n: {"enum": sorted(values)} for n, values in mcp.CHOICES.items()},
            "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        },
        "additionalProperties": False,
        "description": "What a gateway says of the MCP message.",
    },
}
COMPOUND = {
    "title": "Compound event",
    "type": "object",
    "required": ["eventType", "correlationId"],
    "properties": {name: COMPOUND_TYPES.get(name, TEXT) for name in COMPOUND_FIELDS},
    "additionalProperties": False,
}
TOOL = {
    "title": "Tool event",
    "type": "object",
    "description": "`tool_name` is required of what is usage.",
    "properties": {name: TOOL_TYPES.get(name, TEXT) for name in TOOL_FIELDS},
    "additionalProperties": False,
}
CLOUDEVENT = {
    "title": "CloudEvent",
    "type": "object",
    "required": list(cloudevents.REQUIRED),
    "properties": {
        **dict.fromkeys((*cloudevents.REQUIRED, *cloudevents.OPTIONAL), TEXT),
        "specversion": {"enum": [cloudevents.SPECVERSION]},
        "time": TIME,
        "data": {"type": "object", "description": "The members of an event."},
        "data_base64": {"type": "string"},
    },
}
CLOUDEVENTS = {"type": "array", "maxItems": EVENTS_MAX, "items": CLOUDEVENT}
EVENT = {"oneOf": [COMPOUND, TOOL]}
EVENTS = {"type": "array", "minItems": 1, "maxItems": EVENTS_MAX, "items": EVENT}
REQUEST = {
    "oneOf": [
        COMPOUND,
        TOOL,
        EVENTS,
        {
            "title": "Batch",
            "type": "object",
            "required": ["events"],
            "properties": {"events": EVENTS},
            "additionalProperties": False,
        },
    ]
}
FLAGS = {"type": "array", "items": {"type": "string"}}
ITEM = {
    "type": "object",
    "required": ["index", "status"],
    "properties": {
        "index": {"type": "integer"},
        "status": {"enum": ["accepted", "duplicate", "ignored", "rejected"]},
        "event_id": {"type": "string"},
        "id": {"type": "string"},
        "flags": FLAGS,
        "reason": {"type": "string"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "http_status": {"type": "integer"},
    },
}
RESULT = {
    "oneOf": [
        {
            "title": "One event",
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"enum": ["accepted", "duplicate", "ignored"]},
                "reason": {"type": "string"},
                "event_id": {"type": "string"},
                "id": {"type": "string"},
                "flags": FLAGS,
            },
        },
        {
            "title": "A batch",
            "type": "object",
            "required": ["accepted", "duplicates", "ignored", "rejected", "items"],
            "properties": {
                "accepted": {"type": "integer"},
                "duplicates": {"type": "integer"},
                "ignored": {"type": "integer"},
                "rejected": {"type": "integer"},
                "items": {"type": "array", "items": ITEM},
            },
        },
    ]
}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "retry_after": {"type": "integer"},
        "first_seen": TIME,
    },
}
EXAMPLES = [
    OpenApiExample(
        "Compound event",
        request_only=True,
        value={
            "eventId": "req_abc123",
            "eventType": "llm.completion",
            "customerId": "cust_abc",
            "properties": {
                "model": "claude-sonnet-4-6",
                "requestType": "standard",
            },
            "measurements": [
                {"metricKey": "input_tokens", "value": 1500},
                {"metricKey": "output_tokens", "value": 800},
                {"metricKey": "cache_read_tokens", "value": 500},
            ],
            "correlationId": "req_abc123",
        },
    ),
    OpenApiExample(
        "Tool event",
        request_only=True,
        value={
            "event_id": "inv_0001",
            "event_type": "mcp.tool_invoked",
            "agent_id": "agent-7",
            "session_id": "s-42",
            "tool_name": "read_query",
            "mcp_server_id": "database-toolkit",
            "execution_duration_ms": 125,
            "execution_status": "SUCCESS",
        },
    ),
    OpenApiExample(
        "Accepted",
        response_only=True,
        status_codes=["200"],
        value={
            "status": "accepted",
            "event_id": "req_abc123",
            "id": "evt_agm3w4tnrn7nrj5q2h6k3v5x2e",
            "flags": ["time_defaulted"],
        },
    ),
    OpenApiExample(
        "Batch with one refusal",
        response_only=True,
        status_codes=["200"],
        value={
            "accepted": 0,
            "duplicates": 0,
            "ignored": 0,
            "rejected": 1,
            "items": [
                {
                    "index": 0,
                    "status": "rejected",
                    "code": "negative_quantity",
                    "detail": "measurements.input_tokens is below zero",
                    "http_status": 400,
                    "field": "measurements.input_tokens",
                }
            ],
        },
    ),
]
