"""What the reference shows of the catalog API."""

from __future__ import annotations

from typing import Any

MADE = "2026-03-01T09:00:00+00:00"
PRODUCT = {
    "code": "travel",
    "name": "Travel server",
    "type": "MCP_SERVER",
    "features": ["search", "booking"],
}
PRODUCT_SHOWN: dict[str, Any] = {
    "id": "prd_agnvkk3t5v4xxnnhz6qmmp5xci",
    **PRODUCT,
    "description": "",
    "self_reporting": False,
    "session_idle_s": 600,
    "session_expire_s": 3600,
    "implicit_sessions": False,
    "max_call_s": 900,
    "created_at": MADE,
}
METRIC = {
    "code": "input_tokens",
    "name": "Input tokens",
    "aggregation": "sum",
    "field": "input_tokens",
    "unit": "token",
}
METRIC_SHOWN: dict[str, Any] = {
    "id": "met_agnvkk3t5v4xxnnhz6qmmp5xci",
    **METRIC,
    "description": "",
    "event_types": [],
    "window": "period",
    "integer_only": False,
    "created_at": MADE,
}
PLAN = {"code": "travel-pro", "name": "Travel Pro", "product": "travel"}
PLAN_SHOWN: dict[str, Any] = {
    "id": "pln_agnvkk3t5v4xxnnhz6qmmp5xci",
    **PLAN,
    "description": "",
    "product": "prd_agnvkk3t5v4xxnnhz6qmmp5xci",
    "created_at": MADE,
}
DRAFT: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "platform",
            "name": "Platform fee",
            "price": {"model": "flat", "amount": "200", "due": "advance"},
        },
        {
            "key": "input",
            "name": "Input tokens",
            "unit": "tokens",
            "metric": "input_tokens",
            "price": {"model": "per_unit", "unit_amount": "3.00", "per": 1000000},
        },
    ],
    "currencies": {
        "EUR": {
            "charges": {
                "platform": {
                    "price": {"model": "flat", "amount": "190", "due": "advance"}
                },
                "input": {
                    "price": {
                        "model": "per_unit",
                        "unit_amount": "2.80",
                        "per": 1000000,
                    }
                },
            }
        }
    },
    "minimum": "500",
    "discounts": [
        {"name": "Launch offer", "percent": "10", "charges": ["input"]}
        | {"from": "2026-11-01", "until": "2027-02-01"}
    ],
    "limits": {"requests_per_minute": 600, "spend_cap": "2500.00"},
    "prorate": True,
}
DRAFT_SHOWN: dict[str, Any] = {
    "id": "plv_agnvkk3t5v4xxnnhz6qmmp5xci",
    "plan": "pln_agnvkk3t5v4xxnnhz6qmmp5xci",
    "number": 1,
    "state": "draft",
    **DRAFT,
    "levels": [],
    "maximum": None,
    "summary": None,
    "created_at": MADE,
    "published_at": None,
}
PUBLISHED: dict[str, Any] = {
    **DRAFT_SHOWN,
    "state": "published",
    "charges": [
        DRAFT["charges"][0],
        {
            **DRAFT["charges"][1],
            "metric": {
                "key": "input_tokens",
                "aggregation": "sum",
                "measurement": "input_tokens",
            },
        },
    ],
    "summary": "Platform fee: $200.00 a month, in advance. Input tokens: $3.00 per 1M"
    " tokens. Minimum spend: $500.00 a month. Launch offer: 10 % off Input tokens, from"
    " 1 Nov 2026, before 1 Feb 2027.",
    "published_at": MADE,
}


def page(row: dict[str, Any]) -> dict[str, Any]:
    """Return a page with one row."""
    return {"items": [row], "next": None}
