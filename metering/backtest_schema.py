"""How POST /v1/simulate and GET /v1/simulate/{id} are described in OpenAPI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from metering.backtest_plans import CUSTOMERS_MAX, PLANS_MAX
from metering.schema import PROBLEM

DESCRIPTION = f"""\
Prices a month of recorded usage under up to {PLANS_MAX} plans: published or draft
`versions`, plan JSON in `plans`, or both. They are in one currency. `customers` names
up to {CUSTOMERS_MAX:,} by our id or yours; without it, all subscribers are priced.
`product` says whose usage is priced; without it, that of the versions' product, or of
all products where only plan JSON was sent. The same functions rate events and write
invoices, and nothing is written to the books.

Send `Authorization: Bearer svc_…` (a service key with the scope `read`).
"""
RESULT_DESCRIPTION = """\
Amounts are exact decimals as texts. `old` is what was billed for the month, `new` one
bill for each plan: `amount` sums the lines as invoices round them, `exact` has twelve
places. Customers that were not priced have `left_out` instead: `no_subscription` in
that month, or `not_over` in their time zone.

`result` is of all customers. `customers` is a page of them, in a fixed order; `next`
goes into `?after=` for the page that follows, and is null on the last.
"""
REFUSALS = {
    400: "Malformed: `code` says how, `field` where.",
    401: "The credentials are not valid.",
    403: "The service key lacks the scope.",
    404: "No simulation has this id.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    422: "A plan, customer or month cannot be used, or the key came with another body.",
    503: "The store is away; nothing was stored.",
}
TEXT: dict[str, Any] = {"type": "string", "maxLength": 255}
AMOUNT = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
COUNT = {"type": "integer", "minimum": 0}
REQUEST: dict[str, Any] = {
    "title": "A backtest",
    "type": "object",
    "required": ["month"],
    "additionalProperties": False,
    "properties": {
        "month": {
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}$",
            "description": "A month that is over, in each customer's time zone.",
        },
        "versions": {
            "type": "array",
            "maxItems": PLANS_MAX,
            "items": TEXT,
            "description": "Ids of plan versions (`plv_…`), drafts too.",
        },
        "plans": {
            "type": "array",
            "maxItems": PLANS_MAX,
            "items": {"type": "object"},
            "description": "Plan JSON, as plan versions have it.",
        },
        "customers": {
            "type": ["array", "null"],
            "maxItems": CUSTOMERS_MAX,
            "items": TEXT,
            "description": "Ids of customers, ours or yours; null: all subscribers.",
        },
        "product": {
            "type": ["string", "null"],
            "description": "Id of the product whose usage is priced.",
        },
    },
}
_SHARED: dict[str, Any] = {
    "id": TEXT,
    "url": {**TEXT, "description": "The page that shows it to staff."},
    "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
    "month": TEXT,
    "plans": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"label": TEXT, "version": {"type": ["string", "null"]}},
        },
    },
    "currency": TEXT,
    "customer_count": COUNT,
    "done_count": COUNT,
}
ACCEPTED: dict[str, Any] = {
    "title": "Queued",
    "type": "object",
    "required": list(_SHARED),
    "properties": _SHARED,
}
_BILL = {
    "type": ["object", "null"],
    "properties": {
        "amount": AMOUNT,
        "exact": AMOUNT,
        "fees": AMOUNT,
        "lines": {"type": "array", "items": {"type": "object"}},
    },
}
SIMULATION: dict[str, Any] = {
    "title": "A simulation",
    "type": "object",
    "required": list(_SHARED),
    "properties": {
        **_SHARED,
        "failure": TEXT,
        "result": {
            "type": "object",
            "properties": {
                "customers": COUNT,
                "left_out": {"type": "object"},
                "events": COUNT,
                "cost": {**AMOUNT, "description": "Of events whose cost is known."},
                "unknown": {**COUNT, "description": "Events without a known cost."},
                "plans": {"type": "array", "items": {"type": "object"}},
            },
        },
        "customers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "customer": TEXT,
                    "left_out": TEXT,
                    "events": COUNT,
                    "cost": AMOUNT,
                    "unknown": COUNT,
                    "old": _BILL,
                    "new": {"type": "array", "items": _BILL},
                },
            },
        },
        "next": {"type": ["string", "null"], "description": "For `?after=`."},
    },
}
_ID = "bkt_agm3w4tnrn7nrj5q2h6k3v5x2e"
_QUEUED = {
    "id": _ID,
    "url": f"/simulator/{_ID}",
    "state": "queued",
    "month": "2026-10",
    "plans": [
        {"label": "Growth v4", "version": "plv_agm3w4tnrn7nrj5q2h6k3v5x2e"},
    ],
    "currency": "USD",
    "customer_count": 41,
    "done_count": 0,
}
CREATE_EXAMPLES = [
    OpenApiExample(
        "A draft for all subscribers",
        request_only=True,
        value={
            "month": "2026-10",
            "versions": ["plv_agm3w4tnrn7nrj5q2h6k3v5x2e"],
        },
    ),
    OpenApiExample(
        "Plan JSON for one customer",
        request_only=True,
        value={
            "month": "2026-10",
            "customers": ["cust_abc"],
            "plans": [
                {
                    "currency": "USD",
                    "charges": [
                        {
                            "key": "input",
                            "name": "Input tokens",
                            "metric": "input_tokens",
                            "price": {
                                "model": "per_unit",
                                "per": 1000000,
                                "unit_amount": "2.50",
                            },
                        }
                    ],
                }
            ],
        },
    ),
    OpenApiExample("Queued", response_only=True, status_codes=["202"], value=_QUEUED),
]
SHOW_EXAMPLES = [
    OpenApiExample(
        "Running",
        response_only=True,
        status_codes=["200"],
        value={**_QUEUED, "state": "running", "done_count": 17},
    )
]


def responses(status: int, shape: dict[str, Any], text: str) -> dict[int, Any]:
    """Return the answers of an operation: its own, and the refusals."""
    refusals = (
        REFUSALS if status == 202 else dict.fromkeys((400, 401, 403, 404, 503), "")
    )
    return {
        status: OpenApiResponse(shape, description=text),
        **{
            code: OpenApiResponse(PROBLEM, description=REFUSALS[code])
            for code in refusals
            if code != 404 or status == 200
        },
    }
