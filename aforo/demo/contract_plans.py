"""Contract Review: sold by the reviewed contract, or in credits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from aforo.demo.specs import (
    DOC_PARSED,
    REOPENED,
    TOKEN_ESTIMATE,
    PlanSpec,
    ProductSpec,
    charge,
    each,
    fee,
    limits,
    tiers,
)
from catalog.models import ProductType

HALF_HOUR_S = 1_800
THREE_DAYS_S = 259_200
LAUNCH_MONTHS = 3


def reviewed(amount: str) -> dict[str, Any]:
    """Return the price of one reviewed contract, whatever is behind it."""
    return {
        "model": "compound",
        "outcome": {
            "all": [{"event_type": DOC_PARSED}, {"event_type": "llm.completion"}],
            "by": "correlation",
            "within_seconds": HALF_HOUR_S,
        },
        "absorbs": ["input_tokens", "output_tokens", "vector_lookups"],
        "reverse": {"event_type": REOPENED, "within_seconds": THREE_DAYS_S},
        "price": each(amount),
    }


def _calls(first: str, second: str, rest: str) -> dict[str, Any]:
    """Return the price of tool calls."""
    return tiers("graduated", 1, ("1000", first), ("10000", second), (None, rest))


def _levels(spend: str) -> list[dict[str, str]]:
    """Return the spend levels, the second from so much on."""
    scale = {"key": "scale", "name": "Scale", "spend_from": spend}
    return [{"key": "free", "name": "Free"}, scale]


def _growth_terms(since: dt.date) -> dict[str, Any]:
    """Return what holds for the whole plan that began with a month."""
    month = since.year * 12 + since.month - 1 + LAUNCH_MONTHS
    until = dt.date(month // 12, month % 12 + 1, 1)
    return {
        "levels": _levels("50"),
        "minimum": "200",
        "discounts": [
            {
                "name": "Launch offer",
                "percent": "10",
                "from": since.isoformat(),
                "until": until.isoformat(),
            }
        ],
        "currencies": {
            "EUR": {
                "charges": {
                    "platform": {"price": fee("", "92")["price"]},
                    "reviewed": {"price": reviewed("0.79")},
                    "calls": {"price": _calls("0.0092", "0.0074", "0.0046")},
                    "pages": {"price": each("0.045")},
                    "pages-scale": {"price": each("0.036")},
                },
                "levels": _levels("45"),
                "minimum": "185",
            }
        },
    }


GROWTH = PlanSpec(
    "Contract Growth",
    [
        fee("Contract review platform", "99"),
        {
            "key": "reviewed",
            "name": "Contract reviewed",
            "unit": "contracts",
            "price": reviewed("0.85"),
        },
        charge("calls", "Tool calls", "tool_calls", _calls("0.01", "0.008", "0.005")),
        charge("pages", "Pages read", "pages", each("0.05")),
        charge(
            "pages-scale",
            "Pages read, Scale",
            "pages",
            each("0.04"),
            spend_level="scale",
        ),
    ],
    limits(
        6_000,
        20_000_000,
        default_estimate="0.02",
        estimate={"pages": "0.05", "tool_calls": "0.01"},
    ),
    _growth_terms,
)
_WEIGHTS: list[Mapping[str, Any]] = [
    {"measurement": "input_tokens", "amount": "1", "per": 1_000},
    {"measurement": "output_tokens", "amount": "3", "per": 1_000},
    {"measurement": "tool_calls", "amount": "5"},
]
CREDITS = PlanSpec(
    "Contract Credits",
    [
        fee("Contract review with 1,000 credits", "29"),
        {
            "key": "credits",
            "name": "Credits",
            "unit": "credits",
            "price": {
                "model": "recipe",
                "weights": _WEIGHTS,
                "rounding": "up",
                "markup_percent": "20",
                "price": {
                    "model": "included",
                    "units": "1000",
                    "overage": each("0.03"),
                },
            },
        },
    ],
    limits(
        6_000,
        20_000_000,
        default_estimate="0.20",
        estimate={**TOKEN_ESTIMATE, "tool_calls": "0.18"},
    ),
)
CONTRACT_REVIEW = ProductSpec(
    "Contract Review",
    ProductType.AI_AGENT,
    "An agent that reads contracts, compares their clauses and says what is unusual.",
    {"contract-growth": GROWTH, "contract-credits": CREDITS},
    {
        "search_clauses": "0.0012",
        "compare_clause": "0.0020",
        "check_citation": "0.0006",
        "write_redline": "0.0031",
    },
)
