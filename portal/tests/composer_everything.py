"""A plan that has everything: each charge model, terms, levels, two currencies."""

from __future__ import annotations

import copy
from typing import Any

from catalog.starters import starters
from portal.composer.bodies import from_body, own_body, to_body
from portal.composer.currencies import figures, parts

UNIT = {"model": "per_unit", "unit_amount": "0.01"}
TIERS = [
    {"up_to": "1000", "unit_amount": "0.01"},
    {"up_to": None, "unit_amount": "0.005", "flat_amount": "2"},
]
BY_HAND: tuple[dict[str, Any], ...] = (
    {"model": "flat", "amount": "99", "due": "advance"},
    UNIT,
    {"model": "graduated", "tiers": TIERS},
    {"model": "volume", "tiers": TIERS},
    {"model": "included", "units": "500", "overage": UNIT},
    {"model": "package", "size": "100", "price": UNIT},
)


def _charges() -> list[dict[str, Any]]:
    """Return a charge of each model, those of the starters too."""
    rows: list[dict[str, Any]] = []
    started = [
        copy.deepcopy(c["price"]) for s in starters().values() for c in s.charges
    ]
    seen = set()
    for price in (*BY_HAND, *started):
        model = price["model"]
        if model in seen:
            continue
        seen.add(model)
        row = {"key": model.replace("_", "-"), "name": model, "price": price}
        if model != "flat":
            row["metric"] = "tool_calls"
        rows.append(row)
    rows[1] |= {"minimum": "5", "maximum": "900", "discount_percent": "10"}
    rows[1]["filter"] = {"spend_level": ["scale"]}
    return rows


def everything() -> dict[str, Any]:
    """Return plan JSON with everything that the composer has a box for."""
    body = {
        "currency": "USD",
        "charges": _charges(),
        "minimum": "500",
        "maximum": "20000",
        "discounts": [
            {"name": "Launch offer", "percent": "50", "charges": ["flat"]},
            {"name": "Partner rebate", "amount": "25", "from": "2026-11-01"},
        ],
        "levels": [
            {"key": "free", "name": "Free"},
            {"key": "scale", "name": "Scale", "spend_from": "50"},
        ],
    }
    typed = from_body(body, limits={}, prorate=False)
    typed.currencies = {
        "EUR": {
            part.uid: {figure.name: figure.text for figure in figures(part.row)}
            for part in parts(typed, own_body(typed))
        }
    }
    return to_body(typed)


LIMITS: dict[str, Any] = {
    "spend_cap": "25",
    "requests_per_minute": 60,
    "quotas": [{"metric": "tool_calls", "limit": 1000, "on_exceed": "deny"}],
}
