"""Merging: charges of a plan with some members replaced, read by the same parser.

What comes of it counts what the plan counts; only what it costs may differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.exact import ONE
from catalog.pricing.plan import Charge, Flat, PerUnit, Plan
from catalog.pricing.reading import PlanError

BOUNDS = ("minimum", "maximum")
# What a further currency says of the plan as a whole, where the plan has money in it.
WHOLE = (*BOUNDS, "discounts", "levels")
# Finance owns it: no other currency and no contract has one of its own.
MARKUP = "markup_percent"
_CHARGE = re.compile(r"charges\[(?P<index>[0-9]+)\]\.?(?P<member>[a-z_]*)(?P<rest>.*)")
# Members that null takes away.
_CLEARED = frozenset({"discount_percent", *BOUNDS})
# How a charge counts, by its model: another way would be another charge.
_COUNTS = {
    "flat": "is a flat amount",
    "dimensions": "is priced by dimensions",
    "compound": "is priced by outcome",
    "recipe": "is priced by recipe",
    "": "is priced by what its metric counts",
}

Parse = Callable[[object], Plan]
Json = Mapping[str, Any]


def check_keys(given: Collection[str], base: Plan, path: str) -> None:
    """Refuse charges that the plan does not have."""
    known = [charge.key for charge in base.charges]
    for key in given:
        if key not in known:
            message = f"the plan has no charge {key[:64]}; it has {', '.join(known)}"
            raise PlanError("unknown_charge", f"{path}.{key[:64]}", message)


def merged(
    body: Json,
    base: Plan,
    given: Json,
    path: str,
    *,
    allowed: Collection[str],
    parse: Parse,
    whole_path: str = "",
) -> Plan:
    """Return the plan with members of its charges replaced.

    What is wrong with the plan as a whole is said at `whole_path`, if that gave it.
    """
    rows = []
    for charge, row in zip(base.charges, body["charges"], strict=True):
        said = given.get(charge.key, {})
        _check_model(charge, said.get("price"), f"{path}.{charge.key}.price")
        made = {**row, **{name: said[name] for name in allowed if name in said}}
        made["price"] = _with_markup(made["price"], row["price"])
        for name in _CLEARED:
            if made.get(name, "") is None:
                del made[name]
        rows.append(made)
    merged_body = {name: body[name] for name in body if name != "currencies"}
    try:
        plan = parse({**merged_body, "charges": rows})
    except PlanError as error:
        found = _CHARGE.match(error.path)
        key = base.charges[int(found["index"])].key if found else ""
        if found is None and whole_path and error.path.startswith(WHOLE):
            where = f"{whole_path}.{error.path}"
            raise PlanError(error.code, where, error.message) from error
        if found is None or key not in given:
            raise
        where = f"{path}.{key}"
        if found["member"]:
            where += f".{found['member']}{found['rest']}"
        raise PlanError(error.code, where, error.message) from error
    for old, new in zip(base.charges, plan.charges, strict=True):
        where = f"{path}.{old.key}.price"
        _check_metric(old, new, where, is_currency=bool(whole_path))
    return plan


def _check_model(charge: Charge, price: object, path: str) -> None:
    """Refuse a charge model that would count something else than the charge does."""
    name = price.get("model") if isinstance(price, Mapping) else None
    if not isinstance(name, str):
        return  # The parser says what is wrong with it.
    kinds = {
        "flat": Flat,
        "dimensions": Dimensions,
        "compound": Compound,
        "recipe": Recipe,
    }
    old = next((k for k, kind in kinds.items() if isinstance(charge.model, kind)), "")
    new = name if name in kinds else ""
    if old != new:
        message = (
            f"{charge.key} {_COUNTS[old]}, and what it counts stays: {name} would "
            "count something else"
        )
        raise PlanError("another_metric", f"{path}.model", message)


def _with_markup(price: Any, own: Json) -> Any:
    """Return the price of a recipe with the markup of the plan's own."""
    if not isinstance(price, Mapping) or price.get("model") != "recipe":
        return price
    markup = {MARKUP: own[MARKUP]} if own.get(MARKUP) is not None else {}
    return without_markup(price) | markup


def without_markup(price: Json) -> dict[str, Any]:
    """Return a price as a further currency says it: the markup is the plan's."""
    return {name: price[name] for name in price if name != MARKUP}


def _made_of(recipe: Recipe, *, is_currency: bool) -> Recipe:
    """Return what makes a recipe's units; our cost is money, so another figure of it.

    A yen of it is no dollar: a further currency says what one weighs there.
    """
    weights = tuple(
        weight._replace(amount=ONE, per=1)
        if is_currency and not weight.measurement
        else weight
        for weight in recipe.weights
    )
    return replace(recipe, price=PerUnit(ONE, 1), weights=weights)


def _check_metric(old: Charge, new: Charge, path: str, *, is_currency: bool) -> None:
    """Refuse an outcome or unit that is made of something else than the plan's."""
    a, b = old.model, new.model
    if isinstance(a, Compound) and isinstance(b, Compound):
        same = replace(b, price=a.price, budget=a.budget)
        if same != a or (a.budget is None) != (b.budget is None):
            message = "what makes an outcome stays as the plan says: change its price"
            raise PlanError("another_metric", f"{path}.outcome", message)
    elif isinstance(a, Recipe) and isinstance(b, Recipe):
        one, other = (_made_of(recipe, is_currency=is_currency) for recipe in (a, b))
        if one != other:
            message = "what makes a unit stays as the plan says: change its price"
            raise PlanError("another_metric", f"{path}.weights", message)
    else:
        assert old.metric == new.metric, "no metric is among what can be replaced"
