"""A slow second opinion: prices the raw list of events straight from the plan JSON.

Written with fractions and without any code of the pricing package, so that a mistake
would have to be made twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from fractions import Fraction
from typing import Any

from catalog.pricing import UsageEvent

Json = dict[str, Any]
Row = tuple[Any, str, Fraction | str]  # Time, event id, value.


def shadow_total(plan: Json, events: Sequence[UsageEvent]) -> dict[str, Decimal]:
    """Return the price of each charge, without flat amounts in arrears."""
    result = {}
    for charge in plan["charges"]:
        price = charge["price"]
        if price["model"] == "flat":
            exact = Fraction(price["amount"]) if price["due"] == "advance" else 0
        else:
            exact = _metered(plan, charge, events)
        result[charge["key"]] = _twelve(Fraction(exact))
    return result


def _metered(plan: Json, charge: Json, events: Sequence[UsageEvent]) -> Fraction:
    """Return the price of a period: of all rows together, or window by window."""
    window = charge["metric"].get("window", "period")
    windows: dict[str, list[Row]] = {"period": []} if window == "period" else {}
    for event in events:
        if row := _row(plan, charge, event):
            at = event.occurred_at.astimezone(UTC).isoformat()
            name = {
                "period": "period",
                "day": at[:10],
                "hour": at[:13],
                "session": event.session or f"alone {event.event_id}",
                "event": event.event_id,
            }[window]
            windows.setdefault(name, []).append(row)
    prices = [_charge_price(charge, sorted(rows)) for rows in windows.values()]
    if window == "period":
        return prices[0]
    return sum((Fraction(_twelve(price)) for price in prices), Fraction(0))


def _twelve(value: Fraction) -> Decimal:
    """Round half-even to 12 places; round() of a fraction does just that."""
    return Decimal(round(value * 10**12)).scaleb(-12)


def _row(plan: Json, charge: Json, event: UsageEvent) -> Row | None:
    """Return what the charge reads in the event, if the event is the charge's."""
    metric = charge["metric"]
    rivals = [
        other
        for other in plan["charges"]
        if other.get("metric", {}).get("key") == metric["key"] and _passes(other, event)
    ]
    if not rivals:
        return None
    best = max(len(other.get("filter", {})) for other in rivals)
    winner = next(other for other in rivals if len(other.get("filter", {})) == best)
    if winner["key"] != charge["key"]:
        return None
    value: Any = 1
    if "measurement" in metric:
        value = event.measurements.get(metric["measurement"])
    elif "property" in metric:
        value = event.properties.get(metric["property"])
    elif "cogs" in metric:
        value = event.cost
    if value is None:
        return None
    if metric["aggregation"] == "count":
        value = 1
    if metric["aggregation"] != "unique" or isinstance(value, Decimal):
        value = Fraction(value)
    return (event.occurred_at, event.event_id, value)


def _passes(charge: Json, event: UsageEvent) -> bool:
    """Tell whether the event's type and properties fit the charge."""
    types = charge["metric"].get("event_types") or [event.event_type]
    if event.event_type not in types:
        return False
    for name, wanted in charge.get("filter", {}).items():
        allowed = [wanted] if isinstance(wanted, str) else wanted
        if name not in event.properties or event.properties[name] not in allowed:
            return False
    return True


def _charge_price(charge: Json, rows: list[Row]) -> Fraction:
    """Return the price of the charge's rows."""
    price = charge["price"]
    if price["model"] == "percentage":
        return _percentage(price, [Fraction(row[2]) for row in rows])
    return _quantity_price(price, _quantity(charge["metric"]["aggregation"], rows))


def _quantity(aggregation: str, rows: list[Row]) -> Fraction:
    """Return the quantity of a period from its rows in order of time."""
    values = [row[2] for row in rows]
    if not values:
        return Fraction(0)
    if aggregation == "unique":
        return Fraction(len(set(values)))
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    by_name: dict[str, Fraction] = {
        "count": Fraction(len(numbers)),
        "sum": sum(numbers, Fraction(0)),
        "max": max(numbers),
        "min": min(numbers),
        "avg": Fraction(_twelve(mean)),
        "latest": numbers[-1],
    }
    return by_name[aggregation]


def _quantity_price(price: Json, quantity: Fraction) -> Fraction:
    """Return the price of a quantity."""
    model = price["model"]
    per = Fraction(price.get("per", 1))
    if model == "per_unit":
        return quantity * Fraction(price["unit_amount"]) / per
    if model == "included":
        beyond = max(Fraction(0), quantity - Fraction(price["units"]))
        return _quantity_price(price["overage"], beyond)
    if model == "percentage":
        return quantity * Fraction(price["rate"]) / 100
    if model == "package":
        packages = Fraction(math.ceil(quantity / Fraction(price["size"])))
        if "amount" in price:
            return packages * Fraction(price["amount"])
        return _quantity_price(price["price"], packages)
    bounds = [Fraction(tier["up_to"]) for tier in price["tiers"] if tier["up_to"]]
    if model == "volume":
        tier = price["tiers"][sum(quantity > bound for bound in bounds)]
        flat = Fraction(tier.get("flat_amount", 0))
        return quantity * Fraction(tier["unit_amount"]) / per + flat
    result = Fraction(0)
    for index, tier in enumerate(price["tiers"]):
        low = bounds[index - 1] if index else Fraction(0)
        high = bounds[index] if index < len(bounds) else max(low, quantity)
        units = max(Fraction(0), min(high, quantity) - low)
        result += units * Fraction(tier["unit_amount"]) / per
        if index == 0 or quantity > low:
            result += Fraction(tier.get("flat_amount", 0))
    return result


def _percentage(price: Json, amounts: list[Fraction]) -> Fraction:
    """Return the fees of events in order of time."""
    result = Fraction(0)
    events_left = price.get("free_events")
    money_left = price.get("free_amount")
    money = None if money_left is None else Fraction(money_left)
    limited = events_left is not None or money is not None
    for number, amount in enumerate(amounts):
        free = limited
        if events_left is not None and number >= events_left:
            free = False
        if money is not None and money == 0:
            free = False
        paid = amount
        if free:
            paid = Fraction(0) if money is None else max(Fraction(0), amount - money)
            if money is not None:
                money = max(Fraction(0), money - amount)
            if paid == 0:
                continue
        fee = paid * Fraction(price["rate"]) / 100
        fee += Fraction(price.get("fixed_amount", 0))
        if "minimum" in price:
            fee = max(fee, Fraction(price["minimum"]))
        if "maximum" in price:
            fee = min(fee, Fraction(price["maximum"]))
        result += fee
    return result
