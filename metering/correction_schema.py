"""What the API's description says of corrections."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from metering import schema

TEXT = {"type": "string"}
MONEY = {"type": "string", "description": "An exact decimal number."}
TIME = {"type": "string", "format": "date-time"}

VOID = """Takes an event back. It stays stored; its ledger entry is reversed, one more
entry brings every charge to the price of the usage without it, and counters, sessions,
costs and wallets follow. An invoice that was issued is not changed: the next one has
the adjustment. Needs the scope `corrections`. A second void changes nothing and answers
`already_voided`."""
AMEND = """Voids an event and rates the corrected one in its place, in one transaction.
Without an id the correction gets the first event's with a number: `call-7~2`. Needs the
scope `corrections`."""
BACKFILL = """Takes up to 1,000 events that are up to 400 days old. Usage of a period
that has its invoice becomes an adjustment on the next one. Needs the scope `backfill`;
the reason is written to the audit."""
END = """Ends a session now, as `completed` or `failed`. What its end adds to its price
is posted at once. Needs the scope `ingest`. One that ended before stays as it is and is
answered `already_ended`."""

REASON: dict[str, Any] = {
    "type": "object",
    "required": ["reason"],
    "properties": {"reason": TEXT | {"maxLength": 300}},
}
AMENDMENT: dict[str, Any] = {
    "type": "object",
    "required": ["reason", "event"],
    "properties": {
        "reason": TEXT | {"maxLength": 300},
        "event": {"type": "object", "description": "An event as for POST /v1/events."},
    },
}
BACKFILLED: dict[str, Any] = {
    "type": "object",
    "required": ["reason", "events"],
    "properties": {
        "reason": TEXT | {"maxLength": 300},
        "events": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
    },
}
ENDING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": ["completed", "failed"]},
        "reason": TEXT,
    },
}
VOIDED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["voided", "already_voided"]},
        "id": TEXT,
        "event_id": TEXT,
        "was": {"type": "string", "enum": ["rated", "unrateable", "pending"]},
        "amount": MONEY,
        "currency": TEXT,
        "reason": TEXT,
        "voided_at": TIME,
        "replaced_by": {"type": ["string", "null"]},
    },
}
AMENDED: dict[str, Any] = {
    "type": "object",
    "properties": {
        **VOIDED["properties"],
        "status": {"type": "string", "enum": ["amended"]},
        "event": {
            "type": "object",
            "properties": {
                "id": TEXT,
                "event_id": TEXT,
                "amount": {"type": ["string", "null"]},
                "currency": TEXT,
                "unrateable": {"type": ["string", "null"]},
            },
        },
    },
}
BATCH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "rejected": {"type": "integer"},
        "items": {"type": "array", "items": {"type": "object"}},
    },
}
ENDED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ended", "already_ended"]},
        "id": TEXT,
        "session_id": TEXT,
        "state": TEXT,
        "ended_at": TIME,
        "event_count": {"type": "integer"},
        "price": MONEY,
        "currency": TEXT,
    },
}
REFUSALS = {
    400: "The body cannot be read.",
    401: "One answer for every bad secret.",
    403: "The service key lacks the scope.",
    404: "Not known here.",
    409: "`already_voided`, or a request with this key is being answered.",
    422: "`reason_required`, `event_conflict`, `too_old`, `invalid_state`.",
}


def responses(success: dict[str, Any]) -> dict[int, OpenApiResponse]:
    """Return the answers of an address that corrects something."""
    found = {200: OpenApiResponse(success, description="Done, and in the books.")}
    for status, text in REFUSALS.items():
        found[status] = OpenApiResponse(schema.PROBLEM, description=text)
    return found


_VOIDED = {
    "status": "voided",
    "id": "evt_agrbz3cz4fv6pkb3qyx2m5w7ue",
    "event_id": "call-7",
    "was": "rated",
    "amount": "-0.0042",
    "currency": "USD",
    "reason": "sent twice under two ids",
    "voided_at": "2026-11-27T10:15:00Z",
    "replaced_by": None,
}
_EVENT = {
    "eventType": "llm.completion",
    "customerId": "cust_abc",
    "correlationId": "req_abc123",
    "measurements": [{"metricKey": "output_tokens", "value": 800}],
}
_REASON = {"reason": "sent twice under two ids"}


def _both(asked: Any, answered: Any) -> list[OpenApiExample]:
    """Return an example of a request and of its answer."""
    return [
        OpenApiExample("Request", value=asked, request_only=True),
        OpenApiExample(
            "Done", value=answered, response_only=True, status_codes=["200"]
        ),
    ]


VOID_EXAMPLES = _both(_REASON, _VOIDED)
AMEND_EXAMPLES = _both(
    {**_REASON, "event": _EVENT},
    {
        **_VOIDED,
        "status": "amended",
        "replaced_by": "evt_agrbz3czn4m7wq6tq2v5r3yxkd",
        "event": {
            "id": "evt_agrbz3czn4m7wq6tq2v5r3yxkd",
            "event_id": "call-7~2",
            "amount": "0.0036",
            "currency": "USD",
            "unrateable": None,
        },
    },
)
BACKFILL_EXAMPLES = _both(
    {"reason": "the gateway was offline", "events": [{**_EVENT, "eventId": "call-9"}]},
    {
        "accepted": 1,
        "duplicates": 0,
        "rejected": 0,
        "items": [{"event_id": "call-9", "status": "accepted"}],
    },
)
END_EXAMPLES = _both(
    {"state": "completed"},
    {
        "status": "ended",
        "id": "ses_agrbz3czw7m5kq2rv6t4xyn3pd",
        "session_id": "run-42",
        "state": "completed",
        "ended_at": "2026-11-27T10:15:00Z",
        "event_count": 12,
        "price": "0.84",
        "currency": "USD",
    },
)
