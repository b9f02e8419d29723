"""What a call of one contract is estimated to cost: own prices move estimates."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog import effective
from catalog.plans import PricedPlan
from catalog.pricing import Charge, PerUnit, Source
from catalog.pricing.exact import divide


def limits_of(plan: PricedPlan, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the plan's limits for a contract with these overrides.

    An estimate that is the plan's price of a unit is the contract's price of it. Other
    figures hold as they are, in the contract's currency.
    """
    estimate = plan.limits.get("estimate")
    own = effective.of_contract(plan, overrides, {})
    if not estimate or own is plan:
        return plan.limits
    moved = dict(estimate)
    for listed, charge in zip(plan.plan.charges, own.plan.charges, strict=True):
        unit, price = _unit(listed), _price(charge)
        if unit not in estimate or price is None:
            continue
        if Decimal(estimate[unit]) == _price(listed):
            moved[unit] = plain(price)
    return {**plan.limits, "estimate": moved}


def _unit(charge: Charge) -> str:
    """Return the measurement that a charge counts; empty for anything else."""
    metric = charge.metric
    if metric is None or metric.source is not Source.MEASUREMENT:
        return ""
    return metric.field


def _price(charge: Charge) -> Decimal | None:
    """Return the price of a single unit; None where there is no one price."""
    model = charge.model
    if not isinstance(model, PerUnit):
        return None
    return divide(model.unit_amount, Decimal(model.per))
