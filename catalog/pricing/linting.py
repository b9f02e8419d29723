"""What is allowed in a plan and still looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from catalog.pricing import recipes
from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.dimension_lint import dimension_findings
from catalog.pricing.exact import HUNDRED, ZERO
from catalog.pricing.findings import Finding
from catalog.pricing.plan import (
    SPEND_LEVEL,
    Aggregation,
    Charge,
    Discount,
    Filter,
    Flat,
    Metric,
    PerUnit,
    Plan,
    Source,
    Window,
)

__all__ = ["PARTS", "Finding", "lint"]

# Totals and the parts that they already contain: a plan prices one or the other.
PARTS = {
    "input_tokens": frozenset(
        {
            "input_uncached_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "input_audio_tokens",
        }
    ),
    "output_tokens": frozenset({"reasoning_tokens", "output_audio_tokens"}),
}


def lint(plan: Plan) -> tuple[Finding, ...]:
    """Return the doubts about a plan, in the order of its charges."""
    pairs = [
        (a, b)
        for a, b in combinations(plan.charges, 2)
        if a.metric is not None and b.metric is not None and _meet(a, b)
    ]
    return (
        *_overlaps(pairs, plan.charges),
        *_counted_twice(pairs),
        *dimension_findings(plan),
        *_absorbed(plan),
        *_outcomes(plan),
        *_cost_twice(plan),
        *_weighed(pairs, plan),
        *_cost_weights(plan),
        *_windows(plan, pairs),
        *_levels(plan),
        *_terms(plan),
    )


def _weighed(pairs: list[tuple[Charge, Charge]], plan: Plan) -> Iterator[Finding]:
    """Find meters of a recipe that are priced again for the same events."""
    for charge in plan.charges:
        if isinstance(charge.model, Recipe):
            yield from _parts_weighed(charge, charge.model)
    for pair in pairs:
        for recipe, other in (pair, pair[::-1]):
            model = recipe.model
            # Of two recipes an event touches one: that is the finding overlap.
            if not isinstance(model, Recipe) or isinstance(other.model, Recipe):
                continue
            for weight in model.weights:
                name = weight.measurement
                if not _prices(other, name):
                    continue
                word = "covers" if isinstance(other.model, Compound) else "prices"
                message = (
                    f"{recipes.meter_words(name)} is weighed in {recipe.name}, and"
                    f" {other.name} {word} it too"
                )
                yield Finding("weighed_and_priced", (recipe.key, other.key), message)


def _cost_weights(plan: Plan) -> Iterator[Finding]:
    """Find our cost weighed by the same figure in two currencies."""
    for index, charge in enumerate(plan.charges):
        for variant in plan.variants:
            models = (charge.model, variant.charges[index].model)
            weights = [
                {w.amount / w.per for w in model.weights if not w.measurement}
                for model in models
                if isinstance(model, Recipe)
            ]
            if weights and weights[0] and weights[0] == weights[1]:
                message = (
                    f"1 {plan.currency} and 1 {variant.currency} of our cost weigh"
                    f" the same in {charge.name}, though they are not the same money"
                )
                yield Finding("cost_weighs_the_same", (charge.key,), message)


def _parts_weighed(charge: Charge, model: Recipe) -> Iterator[Finding]:
    """Find a total that a recipe weighs beside its own parts."""
    names = {weight.measurement for weight in model.weights}
    for whole in PARTS.keys() & names:
        for part in sorted(PARTS[whole] & names):
            message = f"{part} are part of {whole}: {charge.name} weighs them twice"
            yield Finding("counted_twice", (charge.key,), message)


def _prices(charge: Charge, name: str) -> bool:
    """Tell whether a charge prices a measurement, or a part of it; empty: our cost."""
    if isinstance(charge.model, Compound):
        return bool(name) and name in charge.model.absorbs
    if isinstance(charge.model, Dimensions):
        found = frozenset(charge.model.tokens)
    elif not name:
        return charge.metric is not None and charge.metric.source is Source.COGS
    else:
        found = frozenset({_measurement(charge.metric)} - {""})
    return any(
        name == one or one in PARTS.get(name, ()) or name in PARTS.get(one, ())
        for one in found
    )


def _levels(plan: Plan) -> Iterator[Finding]:
    """Find levels that change no price, and levels at which some usage has none.

    A level without a charge of its own falls back to the one for every level.
    """
    priced: dict[str, list[Charge]] = {}
    for charge in plan.charges:
        if charge.metric is not None:
            priced.setdefault(charge.metric.key, []).append(charge)
    is_used = False
    for charges in priced.values():
        named = [dict(c.filter.conditions).get(SPEND_LEVEL) for c in charges]
        is_used = is_used or any(named)
        if None in named:
            continue
        lacking = [
            level.name
            for level in plan.levels
            if not any(allowed and level.key in allowed for allowed in named)
        ]
        if lacking:
            message = (
                f"at the level {' and '.join(lacking)} what {charges[0].name} counts"
                " has no price: name the level, or add a charge for every level"
            )
            yield Finding("level_without_price", (charges[0].key,), message)
    if plan.levels and plan.charges and not is_used:
        message = (
            f"no charge is for a spend level: add the condition {SPEND_LEVEL} to one"
        )
        yield Finding("levels_unused", (plan.charges[0].key,), message)


def _windows(plan: Plan, pairs: list[tuple[Charge, Charge]]) -> Iterator[Finding]:
    """Find windows that change no price, and one thing priced by two windows."""
    for charge in plan.charges:
        metric = charge.metric
        if metric is None or metric.window is Window.PERIOD:
            continue
        adds = metric.aggregation in (Aggregation.COUNT, Aggregation.SUM)
        if adds and isinstance(charge.model, PerUnit):
            message = (
                f"{charge.name} has one price for every unit and adds them up: by the"
                f" {metric.window} it comes to the same as by the period"
            )
            yield Finding("window_without_effect", (charge.key,), message)
    for a, b in pairs:
        assert a.metric is not None
        assert b.metric is not None
        if a.metric.window is not b.metric.window and _counted(a) == _counted(b):
            message = (
                f"{a.name} and {b.name} price the same by the {a.metric.window} and by"
                f" the {b.metric.window}: it is paid twice"
            )
            yield Finding("two_windows", (a.key, b.key), message)


def _counted(charge: Charge) -> tuple[object, ...]:
    """Return what a charge counts, whatever its metric is called."""
    metric = charge.metric
    assert metric is not None
    if isinstance(charge.model, Dimensions | Compound):
        return (charge.key,)
    return (metric.source, metric.field, metric.aggregation)


def _absorbed(plan: Plan) -> Iterator[Finding]:
    """Find measurements that an outcome's price covers and a charge prices too."""
    for charge in plan.charges:
        if not isinstance(charge.model, Compound):
            continue
        for other in plan.charges:
            name = _measurement(other.metric)
            if name in charge.model.absorbs:
                message = (
                    f"{name} is covered by the price of {charge.name} and priced by "
                    f"{other.name} too"
                )
                yield Finding("absorbed_and_priced", (charge.key, other.key), message)


def _outcomes(plan: Plan) -> Iterator[Finding]:
    """Find outcomes that their own pieces confirm or reverse."""
    for charge in plan.charges:
        model = charge.model
        if not isinstance(model, Compound):
            continue
        for code, signal, what in (
            ("confirms_itself", model.confirm, "confirms"),
            ("reverses_itself", model.reverse, "takes back"),
        ):
            if signal is not None and any(
                one.event_type == signal.event_type
                and _compatible(one.where, signal.where)
                for one in model.requirements
            ):
                message = (
                    f"{signal.event_type} is a piece of {charge.name} and {what} it "
                    "too: use another type or condition"
                )
                yield Finding(code, (charge.key,), message)


def _cost_twice(plan: Plan) -> Iterator[Finding]:
    """Find cost that an outcome bills beyond its budget and another charge too."""
    for a, b in combinations(plan.charges, 2):
        if _bills_cost(a) and _bills_cost(b):
            if not (_has_budget(a) or _has_budget(b)):
                continue
            whole, other = (a, b) if _has_budget(a) else (b, a)
            message = (
                f"our cost beyond the budget of {whole.name} is billed, and "
                f"{other.name} bills our cost too"
            )
            yield Finding("cost_billed_twice", (whole.key, other.key), message)


def _has_budget(charge: Charge) -> bool:
    """Tell whether a charge is an outcome with a cost budget."""
    return isinstance(charge.model, Compound) and charge.model.budget is not None


def _bills_cost(charge: Charge) -> bool:
    """Tell whether our cost is part of a charge's price."""
    is_cost = charge.metric is not None and charge.metric.source is Source.COGS
    return is_cost or _has_budget(charge)


def _meet(a: Charge, b: Charge) -> bool:
    """Tell whether one event could pass both charges' conditions."""
    assert a.metric is not None
    assert b.metric is not None
    types = (a.metric.event_types, b.metric.event_types)
    apart = all(types) and not types[0] & types[1]
    return not apart and _compatible(a.filter, b.filter)


def _compatible(a: Filter, b: Filter) -> bool:
    """Tell whether some properties pass both filters."""
    other = dict(b.conditions)
    return all(
        key not in other or allowed & other[key] for key, allowed in a.conditions
    )


def _overlaps(
    pairs: list[tuple[Charge, Charge]], charges: tuple[Charge, ...]
) -> Iterator[Finding]:
    """Find charges of one metric of which neither is the more specific.

    Unless a third, more specific one takes whatever both would match.
    """
    for a, b in pairs:
        if a.metric == b.metric and a.filter.specificity == b.filter.specificity:
            if any(c.metric == a.metric and _takes(c, a, b) for c in charges):
                continue
            message = (
                f"an event can match both {a.name} and {b.name} equally well; "
                f"{a.name} is used because it comes first"
            )
            yield Finding("overlap", (a.key, b.key), message)


def _takes(c: Charge, a: Charge, b: Charge) -> bool:
    """Tell whether a more specific charge matches all that two others match."""
    if c.filter.specificity <= a.filter.specificity:
        return False
    both = dict(a.filter.conditions)
    for key, allowed in b.filter.conditions:
        both[key] = both[key] & allowed if key in both else allowed
    return all(
        key in both and both[key] <= allowed for key, allowed in c.filter.conditions
    )


def _counted_twice(pairs: list[tuple[Charge, Charge]]) -> Iterator[Finding]:
    """Find charges of which one counts a part of what the other counts."""
    for a, b in pairs:
        for whole, part in ((a, b), (b, a)):
            parts = PARTS.get(_measurement(whole.metric), frozenset())
            name = _measurement(part.metric)
            if name in parts:
                message = (
                    f"{name} are part of {_measurement(whole.metric)}: "
                    f"{whole.name} and {part.name} price them twice"
                )
                yield Finding("counted_twice", (whole.key, part.key), message)


def _measurement(metric: Metric | None) -> str:
    """Return the measurement that a metric reads, or an empty text."""
    if metric is None or metric.source is not Source.MEASUREMENT:
        return ""
    return metric.field


def _terms(plan: Plan) -> Iterator[Finding]:
    """Find discounts and bounds of the whole plan that cannot do what they say."""
    flats = [c for c in plan.charges if isinstance(c.model, Flat)]
    fixed = sum((c.model.amount for c in flats if isinstance(c.model, Flat)), ZERO)
    keys = tuple(charge.key for charge in flats)
    if flats and plan.maximum is not None and fixed >= plan.maximum:
        message = "the flat amounts alone reach the maximum spend: all usage is free"
        yield Finding("maximum_reached", keys, message)
    # A discount can bring them below it.
    least = None if plan.discounts else plan.minimum
    if flats and least is not None and fixed >= least:
        message = "the flat amounts alone reach the minimum spend: it does nothing"
        yield Finding("minimum_reached", keys, message)
    for charge in plan.charges:
        own = [d for d in plan.discounts if d.percent and _covers(d, charge.key)]
        always = sum((d.percent or ZERO for d in own if not d.is_dated), ZERO)
        if always > HUNDRED:
            message = f"discounts take more than all of {charge.name}: it is free"
            yield Finding("discounts_over_all", (charge.key,), message)
    amounts = [d for d in plan.discounts if d.amount is not None]
    for first, later in combinations(amounts, 2):
        if later.charges and not first.charges and len(plan.charges) > 1:
            message = (
                f"{first.name} is taken before {later.name}, of all charges, and may"
                f" leave nothing for it: put {later.name} first"
            )
            yield Finding("discount_order", later.charges, message)


def _covers(discount: Discount, key: str) -> bool:
    """Tell whether a discount is taken off a charge."""
    return not discount.charges or key in discount.charges
