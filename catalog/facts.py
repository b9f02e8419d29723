"""What a version says, one figure at a time: for price lists and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from aforo.lib.money import CONTEXT
from catalog import loop_words
from catalog.describe import filter_words, per_words
from catalog.level_words import trigger_words
from catalog.margin_facts import margin_rows
from catalog.pricing import (
    Aggregation,
    Charge,
    Compound,
    Dimensions,
    Due,
    DurationUnit,
    Flat,
    Graduated,
    Grouping,
    Included,
    Level,
    Metric,
    Model,
    Package,
    Percentage,
    PerUnit,
    Plan,
    Recipe,
    Source,
    Tier,
    Volume,
    Window,
)
from catalog.pricing.recipes import meter_words, share_of
from catalog.pricing.terms import discount_key
from catalog.pricing.words import money_words, number_words
from catalog.recipe_words import counted, meter_label, per_event_words, unit_of
from catalog.term_words import discount_words
from catalog.units import many, span_words

MODELS: dict[type, str] = {
    PerUnit: "Per unit",
    Graduated: "Graduated",
    Volume: "Volume",
    Package: "Packages",
    Percentage: "Percentage",
    Flat: "Flat amount",
    Included: "Included quantity",
    Dimensions: "Dimensions",
    Compound: "Outcome",
    Recipe: "Recipe",
}
_AGGREGATIONS = {
    Aggregation.COUNT: "number",
    Aggregation.SUM: "sum",
    Aggregation.MAX: "largest",
    Aggregation.MIN: "smallest",
    Aggregation.AVG: "average",
    Aggregation.UNIQUE: "distinct values",
    Aggregation.LATEST: "latest value",
}
_OUTAGES = {
    "open": "let calls through",
    "local": "count on each server",
    "closed": "refuse calls",
}
_EXCEEDED = {"deny": "then refused", "bill": "then billed"}
ALL_VALUES = 1_000_000  # More than a filter can name.


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure or choice: `key` stays the same from version to version.

    `value` makes figures comparable (money for one unit, a count); None for words.
    """

    key: str
    label: str
    words: str
    value: Decimal | None = None


def charge_facts(charge: Charge, currency: str) -> list[Fact]:
    """Return everything that a charge says."""
    found = [Fact("name", "Name", charge.name)]
    if charge.unit:
        found.append(Fact("unit", "Unit", charge.unit))
    if words := counted_words(charge):
        found.append(Fact("metric", "Counts", words))
    if charge.filter.conditions:
        words = filter_words(charge.filter, ALL_VALUES)
        found.append(Fact("filter", "Only when", words))
    found.append(Fact("model", "Charge model", MODELS[type(charge.model)]))
    found += _model(charge.model, charge.unit, currency)
    if charge.discount:
        words = f"{number_words(charge.discount)} %"
        found.append(Fact("discount", "Discount", words, charge.discount))
    for key, label, amount in (
        ("least", "At least a period", charge.minimum),
        ("most", "At most a period", charge.maximum),
    ):
        if amount is not None:
            found.append(_money(key, label, amount, currency))
    return found


def currency_facts(plan: Plan, charge: Charge) -> Iterator[Fact]:
    """Yield what a charge costs in the plan's further currencies.

    What is the same in every currency, such as where a tier ends, is left out.
    """
    same = {fact.words for fact in charge_facts(charge, plan.currency)}
    for variant in plan.variants:
        currency = variant.currency
        for fact in charge_facts(variant.charge(charge.key), currency):
            if fact.words not in same:
                key, label = f"{currency}.{fact.key}", f"{fact.label}, {currency}"
                yield replace(fact, key=key, label=label)


def level_facts(levels: Sequence[Level], currency: str) -> list[Fact]:
    """Return the spend levels and how each is reached."""
    return [
        Fact(
            f"level.{level.key}",
            f"Spend level {level.name}",
            trigger_words(level, currency, is_first=not index),
            level.credits_from if level.spend_from is None else level.spend_from,
        )
        for index, level in enumerate(levels)
    ]


def counted_words(charge: Charge) -> str:
    """Return what a charge counts; empty for a flat amount."""
    if isinstance(charge.model, Compound):
        return outcome_words(charge.model)
    if isinstance(charge.model, Recipe):
        names = [meter_words(weight.measurement) for weight in charge.model.weights]
        return f"{', '.join(names)}, by weight"
    if charge.metric is None or isinstance(charge.model, Dimensions):
        return ""
    return metric_words(charge.metric)


def outcome_words(model: Compound) -> str:
    """Return what makes an outcome, such as doc.parsed and 2 × llm.completion."""
    parts = []
    for one in model.requirements:
        words = f"{one.at_least} × " if one.at_least > 1 else ""
        words += one.event_type
        if one.where.conditions:
            words += f" when {filter_words(one.where, ALL_VALUES)}"
        parts.append(words)
    held = "session" if model.by is Grouping.SESSION else "correlation id"
    words = f"{' and '.join(parts)} of one {held}"
    if model.within_seconds is not None:
        words += f" within {span_words(model.within_seconds)}"
    return words


def _signals(model: Compound) -> Iterator[Fact]:
    """Yield which events confirm and reverse an outcome."""
    for key, label, signal in (
        ("confirm", "Charged when", model.confirm),
        ("reverse", "Taken back by", model.reverse),
    ):
        if signal is None:
            continue
        words = signal.event_type
        if signal.where.conditions:
            words += f" when {filter_words(signal.where, ALL_VALUES)}"
        if signal.within_seconds is not None:
            words += f" within {span_words(signal.within_seconds)}"
        yield Fact(key, label, words)


def metric_words(metric: Metric) -> str:
    """Return what a metric counts, such as sum of input_tokens."""
    words = f"{_AGGREGATIONS[metric.aggregation]} of "
    words += {Source.EVENT: "events", Source.COGS: "our cost"}.get(
        metric.source, metric.field
    )
    if metric.event_types:
        words += f" in {' and '.join(sorted(metric.event_types))}"
    if metric.window is not Window.PERIOD:
        words += f", each {metric.window} by itself"
    return words


def _model(model: Model, unit: str, currency: str) -> Iterator[Fact]:
    """Yield the parameters of a charge model."""
    match model:
        case Flat():
            yield _money("amount", "Amount a month", model.amount, currency)
            when = "in advance" if model.due is Due.ADVANCE else "at the end"
            yield Fact("due", "Due", when)
        case PerUnit():
            yield _price("price", "Price", model.unit_amount, model.per, unit, currency)
        case Graduated() | Volume():
            yield from _tiers(model.tiers, model.per, unit, currency)
        case Package():
            yield _count("size", "Package size", model.size, many(unit))
            yield from _model(model.price, "package", currency)
        case Percentage():
            yield from _percentage(model, currency)
        case Dimensions():
            yield from dimension_facts(model, currency)
        case Compound():
            if model.absorbs:
                yield Fact("absorbs", "Covers", ", ".join(model.absorbs))
            yield from _signals(model)
            yield from _model(model.price, unit or "outcome", currency)
            if model.budget is not None:
                share = model.budget.overage_percent
                yield _money("budget", "Cost budget", model.budget.amount, currency)
                words = f"{number_words(share)} %"
                yield Fact("overage", "Of the cost beyond it", words, share)
        case Recipe():
            yield from recipe_facts(model, unit)
            yield from _model(model.price, unit_of(unit), currency)
        case Included():
            yield _count("included", "Included", model.units, many(unit))
            yield Fact("overage", "Beyond it", MODELS[type(model.overage)])
            yield from _model(model.overage, unit, currency)


def recipe_facts(model: Recipe, unit: str) -> Iterator[Fact]:
    """Yield the weights, the markup and what happens to each event's units."""
    for weight in model.weights:
        label = counted(weight.amount, unit)
        name = meter_words(weight.measurement)
        per = meter_label(weight) if weight.measurement else "unit of money"
        words = f"{number_words(weight.amount)} {label} per {per}"
        key = f"weight.{weight.measurement}" if weight.measurement else "cost_weight"
        yield Fact(key, f"Weight of {name}", words, share_of(weight))
    if model.markup:
        words = f"{number_words(model.markup)} %"
        yield Fact("markup", "Markup", words, model.markup)
    if words := per_event_words(model, unit):
        yield Fact("per_event", "Each event", words)


def dimension_facts(model: Dimensions, currency: str) -> Iterator[Fact]:
    """Yield the rates, multipliers, levels and fees of a charge by dimensions."""
    if model.commitment is not None:
        yield _count("committed_amount", "Committed calls", model.commitment.amount)
        price = model.commitment.price
        yield _money("committed_price", "Commitment a month", price, currency)
    if model.session_fee:
        yield _money("session_fee", "A session", model.session_fee, currency)
    if model.included_tools:
        yield _count("included_tools", "Calls in it", model.included_tools)
    for tool, rate in model.tools.items():
        yield _money(f"tool.{tool}", f"Call of {tool}", rate, currency)
    if model.other_tools is not None and not model.volume_rates:
        beyond = model.commitment is not None
        label = "Call beyond them" if beyond else "Call of another tool"
        yield _money("tool.*", label, model.other_tools, currency)
    for number, tier in enumerate(model.volume_rates, 1):
        label = f"Call of another tool, from {tier.min_invocations:,} calls"
        yield _money(f"volume{number}", label, tier.value, currency)
    for name, rate in model.tokens.items():
        label = f"One of {name.replace('_', ' ')}"
        yield _money(f"token.{name}", label, rate, currency)
    for tool, factor in model.multipliers.items():
        words = f"× {number_words(factor)}"
        yield Fact(f"multiplier.{tool}", f"Tokens of {tool}", words, factor)
    unit = "A second" if model.duration_unit is DurationUnit.PER_SECOND else "A call"
    for number, bucket in enumerate(model.buckets, 1):
        label = f"{unit} up to {number_words(bucket.max_seconds)} s"
        yield _money(f"bucket{number}", label, bucket.rate, currency)
    if model.penalty is not None:
        share = number_words(model.penalty.threshold * 100)
        words = f"× {number_words(model.penalty.multiplier)}"
        label = f"Sessions with over {share} % errors"
        yield Fact("penalty", label, words, model.penalty.multiplier)
    for number, off in enumerate(model.discounts, 1):
        label = f"Discount from {off.min_invocations:,} calls"
        words = f"{number_words(off.value)} %"
        yield Fact(f"discount{number}", label, words, off.value)


def _price(
    key: str, label: str, amount: Decimal, per: int, unit: str, currency: str
) -> Fact:
    """Return a price for units, comparable whatever number of them it is for."""
    words = f"{money_words(amount, currency)} {per_words(per, unit)}"
    return Fact(key, label, words, CONTEXT.divide(amount, Decimal(per)))


def _money(key: str, label: str, amount: Decimal, currency: str) -> Fact:
    """Return an amount of money."""
    return Fact(key, label, money_words(amount, currency), amount)


def _count(key: str, label: str, value: Decimal | int, unit: str = "") -> Fact:
    """Return a quantity."""
    exact = Decimal(value)
    return Fact(key, label, f"{number_words(exact)} {unit}".strip(), exact)


def _tiers(
    tiers: tuple[Tier, ...], per: int, unit: str, currency: str
) -> Iterator[Fact]:
    """Yield each tier's end, price and flat amount."""
    for number, tier in enumerate(tiers, 1):
        name = f"Tier {number}"
        if tier.up_to is None:
            yield Fact(f"tier{number}.up_to", f"{name} up to", "no end")
        else:
            yield _count(f"tier{number}.up_to", f"{name} up to", tier.up_to)
        yield _price(
            f"tier{number}.price",
            f"{name} price",
            tier.unit_amount,
            per,
            unit,
            currency,
        )
        if tier.flat_amount:
            yield _money(
                f"tier{number}.flat", f"{name} flat amount", tier.flat_amount, currency
            )


def _percentage(model: Percentage, currency: str) -> Iterator[Fact]:
    """Yield a percentage's rate, fee, bounds and allowance."""
    yield Fact("rate", "Rate", f"{number_words(model.rate)} %", model.rate)
    amounts = (
        ("fixed_amount", "Fee an event", model.fixed_amount or None),
        ("minimum", "At least an event", model.minimum),
        ("maximum", "At most an event", model.maximum),
        ("free_amount", "Free amount", model.free_amount),
    )
    for key, label, amount in amounts:
        if amount is not None:
            yield _money(key, label, amount, currency)
    if model.free_events is not None:
        yield _count("free_events", "Free events", model.free_events)


def plan_facts(plan: Plan) -> list[Fact]:
    """Return minimum and maximum spend and the discounts of a plan."""
    found = [
        _money(key, label, amount, plan.currency)
        for key, label, amount in (
            ("minimum", "Minimum spend", plan.minimum),
            ("maximum", "Maximum spend", plan.maximum),
        )
        if amount is not None
    ]
    for discount in plan.discounts:
        value = discount.amount if discount.percent is None else discount.percent
        kind = "amount" if discount.percent is None else "percent"
        key = f"{discount_key(discount.name)}.{kind}"
        found.append(Fact(key, discount.name, discount_words(discount, plan), value))
    return found


def limit_facts(limits: Mapping[str, Any], currency: str) -> list[Fact]:
    """Return the guard's defaults that a version sets; `limits` were checked."""
    found = []
    for name, label in (
        ("requests_per_minute", "Requests a minute"),
        ("tokens_per_minute", "Tokens a minute"),
    ):
        if limits.get(name) is not None:
            found.append(_count(name, label, limits[name]))
    for quota in limits.get("quotas", ()):
        exceeded = _EXCEEDED[quota["on_exceed"]]
        words = f"{quota['limit']:,} a period, {exceeded}"
        key = f"quota.{quota['metric']}"
        label = f"Quota of {quota['metric']}"
        found.append(Fact(key, label, words, Decimal(quota["limit"])))
    for name, label in (
        ("spend_cap", "Spend cap a period"),
        ("default_estimate", "Estimate of a call"),
    ):
        if limits.get(name) is not None:
            found.append(_money(name, label, Decimal(limits[name]), currency))
    for unit, price in limits.get("estimate", {}).items():
        label = f"Estimate of {unit}"
        found.append(_price(f"estimate.{unit}", label, Decimal(price), 1, "", currency))
    if "on_outage" in limits:
        words = _OUTAGES[limits["on_outage"]]
        found.append(Fact("on_outage", "When the guard's store is away", words))
    if limits.get("wallet_required"):
        found.append(Fact("wallet_required", "Wallet", "required"))
    found += [Fact(*row) for row in margin_rows(limits, currency)]
    return [*found, *(Fact(*row) for row in loop_words.rows(limits))]
