"""Plan to plan JSON: what `parse_plan` reads back as the same plan."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aforo.lib.money import plain
from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.compound_json import compound_to_json
from catalog.pricing.dimension_json import dimensions_to_json
from catalog.pricing.level_json import levels_to_json
from catalog.pricing.plan import (
    Charge,
    Filter,
    Flat,
    Graduated,
    Included,
    Metric,
    Model,
    Package,
    Percentage,
    PerUnit,
    Plan,
    Source,
    Tier,
    Volume,
    Window,
)
from catalog.pricing.recipe_json import recipe_to_json
from catalog.pricing.term_json import terms_to_json
from catalog.pricing.variants import variants_to_json


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON; decimals are texts, what is not set is left out."""
    body: dict[str, Any] = {
        "currency": plan.currency,
        "charges": [_charge(charge) for charge in plan.charges],
        **_whole(plan),
    }
    if plan.variants:
        body["currencies"] = variants_to_json(plan, _charge, _whole)
    return body


def _whole(plan: Plan) -> dict[str, Any]:
    """Return what holds for all charges together."""
    levels = {"levels": levels_to_json(plan.levels)} if plan.levels else {}
    return {**terms_to_json(plan), **levels}


def _charge(charge: Charge) -> dict[str, Any]:
    """Return one charge."""
    row: dict[str, Any] = {"key": charge.key, "name": charge.name}
    if charge.unit:
        row["unit"] = charge.unit
    if charge.metric and not isinstance(charge.model, Dimensions | Compound | Recipe):
        row["metric"] = _metric(charge.metric)
    if charge.filter.conditions:
        row["filter"] = _filter(charge.filter)
    row["price"] = _model(charge.model)
    if charge.discount:
        row["discount_percent"] = plain(charge.discount)
    for name, value in (("minimum", charge.minimum), ("maximum", charge.maximum)):
        if value is not None:
            row[name] = plain(value)
    return row


def _metric(metric: Metric) -> dict[str, Any]:
    """Return what is counted."""
    row: dict[str, Any] = {
        "key": metric.key,
        "aggregation": str(metric.aggregation),
    }
    if metric.source is Source.COGS:
        row["cogs"] = True
    elif metric.source is not Source.EVENT:
        row[str(metric.source)] = metric.field
    if metric.event_types:
        row["event_types"] = sorted(metric.event_types)
    if metric.window is not Window.PERIOD:
        row["window"] = str(metric.window)
    return row


def _filter(conditions: Filter) -> dict[str, Any]:
    """Return the conditions: one allowed value as a text, several as a list."""
    row: dict[str, Any] = {}
    for name, allowed in conditions.conditions:
        values = sorted(allowed)
        row[name] = values[0] if len(values) == 1 else values
    return row


def _model(model: Model) -> dict[str, Any]:
    """Return a charge model with its parameters."""
    match model:
        case PerUnit():
            row = {"model": "per_unit", "unit_amount": plain(model.unit_amount)}
            return row | _per(model.per)
        case Graduated():
            return {"model": "graduated", "tiers": _tiers(model.tiers)} | _per(
                model.per
            )
        case Volume():
            return {"model": "volume", "tiers": _tiers(model.tiers)} | _per(model.per)
        case Package():
            row = {"model": "package", "size": plain(model.size)}
            if isinstance(model.price, PerUnit):
                return row | {"amount": plain(model.price.unit_amount)}
            return row | {"price": _model(model.price)}
        case Percentage():
            return _percentage(model)
        case Flat():
            return {
                "model": "flat",
                "amount": plain(model.amount),
                "due": str(model.due),
            }
        case Dimensions():
            return dimensions_to_json(model)
        case Compound():
            return compound_to_json(model, model=_model, filter=_filter)
        case Recipe():
            return recipe_to_json(model, model=_model)
        case Included():
            return {
                "model": "included",
                "units": plain(model.units),
                "overage": _model(model.overage),
            }


def _per(per: int) -> dict[str, Any]:
    """Return the number of units that the prices are for, unless it is one."""
    return {} if per == 1 else {"per": per}


def _tiers(tiers: tuple[Tier, ...]) -> list[dict[str, Any]]:
    """Return the tiers."""
    return [
        {"up_to": _money(tier.up_to), "unit_amount": plain(tier.unit_amount)}
        | ({"flat_amount": plain(tier.flat_amount)} if tier.flat_amount else {})
        for tier in tiers
    ]


def _percentage(model: Percentage) -> dict[str, Any]:
    """Return a percentage."""
    row: dict[str, Any] = {"model": "percentage", "rate": plain(model.rate)}
    if model.fixed_amount:
        row["fixed_amount"] = plain(model.fixed_amount)
    for name in ("minimum", "maximum", "free_amount"):
        value: Decimal | None = getattr(model, name)
        if value is not None:
            row[name] = plain(value)
    if model.free_events is not None:
        row["free_events"] = model.free_events
    return row


def _money(value: Decimal | None) -> str | None:
    """Return a decimal as text, or null."""
    return None if value is None else plain(value)
