"""A slow second opinion on what holds for a plan as a whole, in single picounits.

Everything is counted in whole units of 10^-12, with integers, straight from the plan
JSON and without any code of the pricing package.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

UNIT = 10**12


def units(value: Decimal | str) -> int:
    """Return an amount as a whole number of 10^-12."""
    exact = Fraction(value) * UNIT
    assert exact.denominator == 1
    return int(exact)


def shadow_terms(
    plan: Mapping[str, Any], amounts: Mapping[str, Decimal], starts_on: str
) -> dict[str, int]:
    """Return each plan-level line by its name, from what each charge comes to."""
    whole = {row["key"]: units(amounts.get(row["key"], "0")) for row in plan["charges"]}
    left = dict(whole)
    percents = {key: Fraction(0) for key in whole}
    lines: dict[str, int] = {}
    active = [row for row in plan.get("discounts", ()) if _holds(row, starts_on)]
    for row in active:
        if "percent" not in row:
            continue
        lines[row["name"]] = 0
        for key in whole:
            if key not in row.get("charges", whole) or left[key] <= 0:
                continue
            before = round(whole[key] * percents[key])
            percents[key] = min(
                Fraction(1), percents[key] + Fraction(row["percent"]) / 100
            )
            off = round(whole[key] * percents[key]) - before
            left[key] -= off
            lines[row["name"]] -= off
    for row in active:
        if "amount" not in row:
            continue
        lines[row["name"]] = 0
        for key in whole:
            if key not in row.get("charges", whole):
                continue
            room = units(row["amount"]) + lines[row["name"]]
            off = max(0, min(room, left[key]))
            left[key] -= off
            lines[row["name"]] -= off
    total = sum(left.values())
    if "maximum" in plan and total > units(plan["maximum"]):
        lines["Maximum spend"] = units(plan["maximum"]) - total
        total = units(plan["maximum"])
    if "minimum" in plan and total < units(plan["minimum"]):
        lines["Minimum spend"] = units(plan["minimum"]) - total
    return {name: amount for name, amount in lines.items() if amount}


def _holds(row: Mapping[str, Any], starts_on: str) -> bool:
    """Tell whether a discount holds; dates as texts sort like dates."""
    return row.get("from", "") <= starts_on < row.get("until", "9999")
