"""A plan with every charge model, level and term, in two currencies."""

from __future__ import annotations

from typing import Any

from catalog.models import Metric

Json = dict[str, Any]


def each(amount: str, per: int = 1) -> Json:
    """Return one price for every unit."""
    return {"model": "per_unit", "unit_amount": amount, "per": per}


def row(key: str, price: Json, **more: Any) -> Json:
    """Return a charge."""
    return {"key": key, "name": key.title(), "price": price, **more}


def daily(amount: str) -> Json:
    """Return a price that begins anew every day."""
    tiers = [
        {"up_to": "10", "unit_amount": amount, "flat_amount": "0.10"},
        {"up_to": None, "unit_amount": "0.01"},
    ]
    return {
        "model": "included",
        "units": "5",
        "overage": {"model": "graduated", "tiers": tiers},
    }


def outcome(amount: str, budget: str) -> Json:
    """Return a price of tickets that were closed and not opened again."""
    return {
        "model": "compound",
        "outcome": {"all": [{"event_type": "ticket.closed"}]},
        "reverse": {"event_type": "ticket.reopened"},
        "cost_budget": {"amount": budget, "overage_percent": "130"},
        "price": each(amount),
    }


def recipe(amount: str, **more: str) -> Json:
    """Return a price of credits."""
    weights = [{"measurement": "input_tokens", "amount": "1", "per": 1000}]
    return {
        "model": "recipe",
        "weights": [*weights, {"cogs": True, "amount": "2"}],
        "rounding": "up",
        "price": each(amount),
        **more,
    }


def tools(amount: str, fee: str) -> Json:
    """Return a price by tool, with a fee and a penalty for each session."""
    return {
        "model": "dimensions",
        "tool_invocations": {"*": amount},
        "base_session_fee": fee,
        "included_tool_count": 1,
        "error_rate_penalties": {"threshold": "0.2", "multiplier": "1.5"},
    }


def share(minimum: str) -> Json:
    """Return a share of our cost."""
    return {"model": "percentage", "rate": "20", "minimum": minimum, "free_events": 1}


GOLD = {"filter": {"spend_level": "gold"}}
# Code, aggregation, field and window of each metric.
METRICS = (
    ("calls_a_day", Metric.Aggregation.SUM, "tool_calls", Metric.Window.DAY),
    ("cost", Metric.Aggregation.SUM, "cogs", Metric.Window.PERIOD),
    ("peak", Metric.Aggregation.MAX, "input_tokens", Metric.Window.PERIOD),
)


def flat(amount: str, due: str) -> Json:
    """Return a fixed amount."""
    return {"model": "flat", "amount": amount, "due": due}


def volume(first: str) -> Json:
    """Return packages at a price by volume."""
    tiers = [
        {"up_to": "2", "unit_amount": first, "flat_amount": "1"},
        {"up_to": None, "unit_amount": "0.5"},
    ]
    return {
        "model": "package",
        "size": "1000",
        "price": {"model": "volume", "tiers": tiers},
    }


LEVELS = [
    {"key": "free", "name": "Free"},
    {"key": "gold", "name": "Gold", "spend_from": "12"},
]
COSTS = (
    ("opus", "input_uncached_tokens", "0.00003"),
    ("search", "tool.call", "0.002"),
    ("ticket.closed", "event.call", "0"),
    ("ticket.reopened", "event.call", "0"),
    ("session.completed", "event.call", "0"),
)
TERMS: Json = {
    "discounts": [
        {"name": "Launch", "percent": "10", "charges": ["calls", "tickets", "seats"]}
        | {"from": "2026-10-01", "until": "2026-11-01"},
        {"name": "Rebate", "amount": "1.005"},
    ],
    "minimum": "45",
    "maximum": "500",
    "levels": LEVELS,
}
EUR: Json = {
    "charges": {
        "seats": {"price": flat("18", "advance")},
        "support": {"price": flat("9", "arrears")},
        "calls": {"price": daily("0.18"), "minimum": "1", "maximum": "80"},
        "gold": {"price": daily("0.09")},
        "tickets": {"price": outcome("0.89", "0.04")},
        "credits": {"price": recipe("0.009")},
        "tools": {"price": tools("0.05", "0.45")},
        "cost": {"price": share("0.01")},
        "peak": {"price": volume("0.9")},
    },
    "discounts": [
        TERMS["discounts"][0],
        {"name": "Rebate", "amount": "0.905"},
    ],
    "minimum": "40",
    "maximum": "450",
    "levels": [LEVELS[0], {**LEVELS[1], "spend_from": "10"}],
}
BODY: Json = {
    "currency": "USD",
    "charges": [
        row("seats", flat("20", "advance")),
        row(
            "calls",
            daily("0.20"),
            metric="calls_a_day",
            discount_percent="5",
            minimum="1.10",
            maximum="90",
        ),
        row("gold", daily("0.10"), metric="calls_a_day", **GOLD),
        row("tickets", outcome("0.99", "0.05")),
        row("credits", recipe("0.01", markup_percent="25")),
        row("tools", tools("0.06", "0.50")),
        row("cost", share("0.01"), metric="cost"),
        row("peak", volume("1"), metric="peak"),
        row("support", flat("10", "arrears")),
    ],
    **TERMS,
    "currencies": {"EUR": EUR},
}
OWN: Json = {
    "calls": {"price": daily("0.16"), "discount_percent": "12.5", "maximum": None},
    "tickets": {"name": "Tickets, agreed", "price": outcome("0.79", "0.06")},
    "tools": {"price": tools("0.04", "0.40")},
}
