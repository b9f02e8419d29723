"""A plan as a price list: every charge in words, tiers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from catalog.describe import (
    bound_words,
    charge_words,
    filter_words,
    level_names,
    per_words,
)
from catalog.facts import (
    ALL_VALUES,
    MODELS,
    counted_words,
    dimension_facts,
)
from catalog.level_words import LevelRow, level_rows
from catalog.pricing import (
    Charge,
    Compound,
    Dimensions,
    Graduated,
    Grouping,
    Included,
    Model,
    Package,
    Plan,
    Recipe,
    Tier,
    Volume,
    Window,
    plan_to_json,
)
from catalog.pricing.words import money_words, number_words
from catalog.recipe_words import public_recipe, unit_of
from catalog.recipe_words import rows as recipe_rows
from catalog.term_words import public_terms
from catalog.units import many, span_words

# What a public price list says of a charge, beside its price.
PUBLIC = ("name", "unit", "filter", "discount_percent", "minimum", "maximum")


@dataclass(frozen=True, slots=True)
class TierRow:
    """One tier: which units, at which price, and what entering it costs."""

    units: str
    price: str
    flat: str  # Empty when no tier of the charge has one.


@dataclass(frozen=True, slots=True)
class Price:
    """One charge as people read it."""

    key: str
    name: str
    model: str
    words: str
    only_when: str  # The filter in words; empty without one.
    counts: str  # The metric in words; empty for a flat amount.
    tiers: tuple[TierRow, ...]
    tier_note: str  # What the tiers do with a quantity.
    window: str  # What the tiers count the units of: period, day …
    weights: tuple[tuple[str, str], ...] = ()  # What usage comes to in a recipe.
    made_of: str = ""  # What an outcome is made of; empty for other charges.


def prices(plan: Plan) -> list[Price]:
    """Return every charge of a plan in words."""
    names = level_names(plan)
    return [_price(charge, plan.currency, names) for charge in plan.charges]


def with_units(plan: Plan, units: Mapping[str, str]) -> Plan:
    """Return a plan whose charges without a unit have that of their metric.

    `units` are labels by the metric's code. It is for reading only: what is priced and
    written on invoices is the plan as it was.
    """
    return replace(
        plan,
        charges=tuple(_with_unit(charge, units) for charge in plan.charges),
        variants=tuple(with_units(variant, units) for variant in plan.variants),
    )


def _with_unit(charge: Charge, units: Mapping[str, str]) -> Charge:
    """Return a charge with its metric's unit, unless it has one or needs none."""
    counts = charge.metric is not None and not isinstance(
        charge.model, Compound | Recipe | Dimensions
    )
    if charge.unit or charge.metric is None or not counts:
        return charge
    return replace(charge, unit=units.get(charge.metric.key, ""))


def made_of_words(model: Compound) -> str:
    """Return what an outcome is made of for customers, such as 2 × doc parsed."""
    parts = []
    for one in model.requirements:
        words = f"{one.at_least} × " if one.at_least > 1 else ""
        words += one.event_type.replace(".", " ").replace("_", " ")
        if one.where.conditions:
            words += f" when {filter_words(one.where, ALL_VALUES)}"
        parts.append(words)
    held = "session" if model.by is Grouping.SESSION else "piece of work"
    words = f"{' and '.join(parts)} in one {held}"
    if model.within_seconds is not None:
        words += f", within {span_words(model.within_seconds)}"
    return words


def levels(plan: Plan) -> list[LevelRow]:
    """Return the spend levels of a plan and how each is reached."""
    return list(level_rows(plan.levels, plan.currency))


def _price(charge: Charge, currency: str, names: Mapping[str, str]) -> Price:
    """Return one charge in words."""
    tiered = _tiered(charge.model, charge.unit)
    rows: tuple[TierRow, ...] = ()
    note = ""
    if tiered is not None:
        model, unit = tiered
        rows = tuple(_rows(model.tiers, model.per, unit, currency))
        note = (
            "The tier that the whole quantity reaches prices all of it."
            if isinstance(model, Volume)
            else "Each tier prices only the units that fall into it."
        )
        outer = charge.model
        base = outer.price if isinstance(outer, Compound | Recipe) else outer
        if isinstance(base, Included):
            note += " Included units come first and are not counted here."
        if charge.metric is not None and charge.metric.window is not Window.PERIOD:
            note += f" Every {charge.metric.window} begins anew."
        # The table stands for the words of these, which would say it.
        bounds = ", ".join(bound_words(charge, currency))
        if bounds and isinstance(outer, Graduated | Volume):
            note += f" {bounds[:1].upper()}{bounds[1:]}."
    if isinstance(charge.model, Dimensions):
        rows = tuple(
            TierRow(fact.label, fact.words, "")
            for fact in dimension_facts(charge.model, currency)
        )
        note = "Rates are multiplied with each other where several apply."
    return Price(
        key=charge.key,
        name=charge.name,
        model=MODELS[type(charge.model)],
        words=charge_words(charge, currency),
        only_when=filter_words(charge.filter, ALL_VALUES, levels=names),
        counts=counted_words(charge),
        tiers=rows,
        tier_note=note,
        weights=tuple(recipe_rows(charge.model, charge.unit))
        if isinstance(charge.model, Recipe)
        else (),
        made_of=made_of_words(charge.model)
        if isinstance(charge.model, Compound)
        else "",
        window=str(charge.metric.window if charge.metric else Window.PERIOD),
    )


def _tiered(model: Model, unit: str) -> tuple[Graduated | Volume, str] | None:
    """Return the tiered price inside a model and what its tiers count."""
    match model:
        case Graduated() | Volume():
            return model, unit
        case Included():
            return _tiered(model.overage, unit)
        case Compound():
            return _tiered(model.price, unit)
        case Recipe():
            return _tiered(model.price, unit_of(unit))
        case Package():
            return _tiered(model.price, "package")
        case _:
            return None


def _rows(
    tiers: tuple[Tier, ...], per: int, unit: str, currency: str
) -> Iterator[TierRow]:
    """Yield the tiers as rows of a table."""
    has_flat = any(tier.flat_amount for tier in tiers)
    floor = None
    for tier in tiers:
        if tier.up_to is None:
            units = f"above {number_words(floor)}" if floor else "any quantity"
        elif floor is None:
            units = f"up to {number_words(tier.up_to)}"
        else:
            units = f"above {number_words(floor)} up to {number_words(tier.up_to)}"
        price = money_words(tier.unit_amount, currency)
        yield TierRow(
            f"{units} {many(unit)}".strip() if units != "any quantity" else units,
            f"{price} {per_words(per, unit)}",
            money_words(tier.flat_amount, currency) if has_flat else "",
        )
        floor = tier.up_to


def public_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as its customers may see it: what is priced, never our metering.

    Amounts are exact texts, as in plan JSON.
    """
    written = plan_to_json(plan)
    charges = written["charges"]
    document: dict[str, Any] = {
        "currency": plan.currency,
        **({"levels": written["levels"]} if plan.levels else {}),
        "charges": [
            {key: charge[key] for key in PUBLIC if key in charge}
            | _public_window(charge)
            | ({"made_of": price.made_of} if price.made_of else {})
            | {"price": _public_price(charge["price"], own.model), "text": price.words}
            for own, charge, price in zip(
                plan.charges, charges, prices(plan), strict=True
            )
        ],
        **public_terms(plan),
    }
    if plan.variants:
        document["currencies"] = {
            variant.currency: {
                name: said
                for name, said in public_json(variant).items()
                if name != "currency"
            }
            for variant in plan.variants
        }
    return document


def _public_window(charge: dict[str, Any]) -> dict[str, Any]:
    """Return for what a charge prices its usage by itself, unless it is the period."""
    metric = charge.get("metric", {})
    return {"window": metric["window"]} if "window" in metric else {}


def _public_price(price: dict[str, Any], model: Model) -> dict[str, Any]:
    """Return a price without what is only metered; words say what an outcome is."""
    if isinstance(model, Recipe):
        return public_recipe(model, price["price"], price)
    if price["model"] == "compound":
        inner: dict[str, Any] = price["price"]
        # The customer pays a share of what is beyond it.
        kept = {key: price[key] for key in ("cost_budget",) if key in price}
        return inner | kept
    return price
