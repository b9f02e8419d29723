"""Short ways to write plans and events in pricing tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from catalog.pricing import (
    Line,
    Outcome,
    Plan,
    Unrateable,
    UsageEvent,
    parse_plan,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def charge(
    key: str,
    price: Mapping[str, Any],
    *,
    metric: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    unit: str = "",
) -> dict[str, Any]:
    """Return a charge's JSON; without a metric it sums the measurement `key`."""
    row: dict[str, Any] = {"key": key, "name": key.title(), "price": dict(price)}
    if unit:
        row["unit"] = unit
    if price["model"] != "flat":
        row["metric"] = dict(metric or summed(key))
    if where:
        row["filter"] = dict(where)
    return row


def summed(measurement: str, **more: Any) -> dict[str, Any]:
    """Return a metric's JSON that adds up a measurement of the same name."""
    return {
        "key": measurement,
        "aggregation": "sum",
        "measurement": measurement,
        **more,
    }


def plan_of(*charges: dict[str, Any], currency: str = "USD") -> Plan:
    """Return a plan of these charges."""
    return parse_plan({"currency": currency, "charges": list(charges)})


def tiers(*rows: tuple[str | None, str] | tuple[str | None, str, str]) -> list[Any]:
    """Return tiers from (up_to, unit_amount[, flat_amount])."""
    names = ("up_to", "unit_amount", "flat_amount")
    return [dict(zip(names, row, strict=False)) for row in rows]


def event(
    number: int = 0,
    *,
    type: str = "llm.completion",
    properties: Mapping[str, str] | None = None,
    cost: str | None = "0",
    at: datetime | None = None,
    **measurements: str | int,
) -> UsageEvent:
    """Return an event; its number gives id and, unless told, time."""
    return UsageEvent(
        event_id=f"evt-{number:06}",
        occurred_at=at or START + timedelta(minutes=number),
        event_type=type,
        properties=dict(properties or {}),
        measurements={key: Decimal(value) for key, value in measurements.items()},
        cost=None if cost is None else Decimal(cost),
    )


def priced(outcomes: Iterable[Outcome]) -> list[Line]:
    """Return all lines; every event must have been priced."""
    lines: list[Line] = []
    for outcome in outcomes:
        assert not isinstance(outcome, Unrateable)
        lines += outcome
    return lines


def amount(lines: Iterable[Line]) -> Decimal:
    """Return the sum of the lines."""
    return sum((line.amount for line in lines), Decimal(0))


def amounts(lines: Iterable[Line]) -> dict[str, Decimal]:
    """Return the sum of the lines of each charge."""
    result: dict[str, Decimal] = {}
    for line in lines:
        key = line.charge_key
        result[key] = result.get(key, Decimal(0)) + line.amount
    return result
