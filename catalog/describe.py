"""A rate plan in plain words, short enough to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from catalog.level_words import summary
from catalog.pricing import (
    SPEND_LEVEL,
    Charge,
    Commitment,
    Compound,
    Dimensions,
    Due,
    Filter,
    Flat,
    Graduated,
    Included,
    Model,
    Package,
    Percentage,
    PerUnit,
    Plan,
    Recipe,
    Signal,
    Tier,
    Volume,
    Window,
)
from catalog.pricing.words import money_words, number_words
from catalog.recipe_words import charged_for, unit_of
from catalog.term_words import plan_terms
from catalog.units import many, one, span_words

WORDS_MAX = 120
# Room for the sentence that counts what was left out.
_ROOM = 8
_PER = {1_000: "1K", 1_000_000: "1M"}


def describe(plan: Plan) -> str:
    """Return what a plan charges, in at most 120 words; long plans are cut short."""
    terms = _terms(plan)
    if not plan.charges:
        return " ".join(["Nothing is charged.", *terms])
    sentences: list[str] = []
    levels = [summary(plan.levels, plan.currency)] if plan.levels else []
    count = len(" ".join(levels + terms).split())
    names = level_names(plan)
    for index, charge in enumerate(plan.charges):
        sentence = _charge(charge, plan.currency, names)
        count += len(sentence.split())
        if count > WORDS_MAX - _ROOM:
            left = len(plan.charges) - index
            noun = "charge" if left == 1 else "charges"
            sentences.append(f"And {left} more {noun}; see the price list.")
            break
        sentences.append(sentence)
    return " ".join(sentences + levels + terms)


def _terms(plan: Plan) -> list[str]:
    """Return what holds for the whole plan, in at most a third of the words."""
    sentences: list[str] = []
    count = 0
    for term in plan_terms(plan):
        sentence = f"{term.name}: {term.words}."
        count += len(sentence.split())
        if count > WORDS_MAX // 3 - _ROOM:
            return [*sentences, "Further discounts: see the price list."]
        sentences.append(sentence)
    return sentences


def level_names(plan: Plan) -> dict[str, str]:
    """Return the names of a plan's spend levels by their keys, lowest first."""
    return {level.key: level.name for level in plan.levels}


def _charge(charge: Charge, currency: str, levels: Mapping[str, str]) -> str:
    """Return one charge as a sentence."""
    words = f"{charge.name}: {charge_words(charge, currency)}"
    conditions = filter_words(charge.filter, levels=levels)
    if conditions:
        words += f" when {conditions}"
    return f"{words}."


def filter_words(
    conditions: Filter, shown: int = 3, *, levels: Mapping[str, str] | None = None
) -> str:
    """Return a filter's conditions; a longer list of values is cut short.

    `levels` are the names of spend levels by key, in their order.
    """
    parts = []
    for name, allowed in conditions.conditions:
        values = sorted(allowed)
        if name == SPEND_LEVEL and levels:
            name = "spend level"
            values = [levels[key] for key in levels if key in allowed]
        parts.append(f"{name} is {_either(values, shown)}")
    return " and ".join(parts)


def _either(values: Sequence[str], shown: int) -> str:
    """Return a list of alternatives, at most so many by name."""
    if len(values) > shown:
        return f"{values[0]}, {values[1]} or one of {len(values) - 2} others"
    return " or ".join(values)


def charge_words(charge: Charge, currency: str) -> str:
    """Return a charge's price with its discount, minimum and maximum in words."""
    words = model_words(charge.model, charge.unit, currency)
    if charge.metric is not None and charge.metric.window is not Window.PERIOD:
        words += f", counted per {charge.metric.window}"
    return ", ".join([words, *bound_words(charge, currency)])


def bound_words(charge: Charge, currency: str) -> list[str]:
    """Return a charge's discount, minimum and maximum in words."""
    found = []
    if charge.discount:
        found.append(f"{number_words(charge.discount)} % off")
    if charge.minimum is not None:
        found.append(f"at least {money_words(charge.minimum, currency)} a month")
    if charge.maximum is not None:
        found.append(f"at most {money_words(charge.maximum, currency)} a month")
    return found


def model_words(model: Model, unit: str, currency: str) -> str:
    """Return a charge model in words."""
    match model:
        case Flat():
            when = "in advance" if model.due is Due.ADVANCE else "at the end"
            return f"{money_words(model.amount, currency)} a month, {when}"
        case PerUnit():
            price = money_words(model.unit_amount, currency)
            return f"{price} {per_words(model.per, unit)}"
        case Graduated():
            return _tiers(model.tiers, model.per, unit, currency)
        case Volume():
            tiers = _tiers(model.tiers, model.per, unit, currency)
            return f"{tiers}, the tier reached pricing the whole quantity"
        case Package():
            return _package(model, unit, currency)
        case Percentage():
            return _percentage(model, currency)
        case Dimensions():
            return _dimensions(model, currency)
        case Compound():
            words = model_words(model.price, unit or "outcome", currency)
            return words + "".join(_conditions(model, currency))
        case Recipe():
            price = model_words(model.price, unit_of(unit), currency)
            return f"{price}; {charged_for(model, unit)}"
        case Included():
            free = f"{number_words(model.units)} {many(unit)}".strip()
            return f"{free} included, then {model_words(model.overage, unit, currency)}"


def per_words(per: int, unit: str) -> str:
    """Return for how many units a price is."""
    if per in _PER:
        return f"per {_PER[per]} {many(unit)}".strip()
    return f"per {one(unit) or 'unit'}"


def _tiers(tiers: tuple[Tier, ...], per: int, unit: str, currency: str) -> str:
    """Return tiered prices: the first three, then the last."""
    parts = []
    for index, tier in enumerate(tiers):
        if 3 <= index < len(tiers) - 1:
            continue
        price = money_words(tier.unit_amount, currency)
        words = f"{price} {per_words(per, unit)}" if not index else price
        if tier.flat_amount:
            words += f" plus {money_words(tier.flat_amount, currency)}"
        if tier.up_to is not None:
            words += f" up to {number_words(tier.up_to)}"
        elif index:
            words += " above"
        parts.append(words)
    return ", then ".join(parts)


def _conditions(model: Compound, currency: str) -> Iterator[str]:
    """Yield what an outcome's price hangs on, without naming what is metered."""
    if model.confirm is not None:
        yield f", charged when confirmed{_within(model.confirm)}"
    if model.reverse is not None:
        yield f", taken back when reversed{_within(model.reverse)}"
    if model.budget is not None:
        share = number_words(model.budget.overage_percent)
        amount = money_words(model.budget.amount, currency)
        yield f", plus {share} % of the cost beyond {amount} each"


def _within(signal: Signal) -> str:
    """Return how long after an outcome something may be said of it."""
    if signal.within_seconds is None:
        return ""
    return f" within {span_words(signal.within_seconds)}"


def _package(model: Package, unit: str, currency: str) -> str:
    """Return a package's price."""
    size = f"{number_words(model.size)} {many(unit)}".strip()
    if isinstance(model.price, PerUnit):
        price = money_words(model.price.unit_amount, currency)
        return f"{price} per started {size}"
    inner = model_words(model.price, "packages", currency)
    return f"in started packages of {size}: {inner}"


def _dimensions(model: Dimensions, currency: str) -> str:
    """Return rates by tool, tokens, duration and session."""
    parts = []
    if model.commitment is not None:
        parts.append(commitment_words(model.commitment, currency))
    if model.session_fee:
        covered = (
            f" with {model.included_tools:,} calls" if model.included_tools else ""
        )
        parts.append(f"{money_words(model.session_fee, currency)} a session{covered}")
    rates = [*model.tools.values(), *(rate.value for rate in model.volume_rates)]
    if model.other_tools is not None and not model.volume_rates:
        rates.append(model.other_tools)
    if rates:
        low, high = (money_words(rate, currency) for rate in (min(rates), max(rates)))
        words = f"{low} a call" if low == high else f"{low} to {high} a call"
        parts.append(f"then {words}" if model.commitment is not None else words)
    for name, rate in model.tokens.items():
        what = one(name.replace("_", " "))
        parts.append(f"{money_words(rate, currency)} per {what}")
    if model.multipliers:
        parts.append("multiplied by tool")
    if model.buckets:
        parts.append("plus an amount by duration")
    if model.penalty is not None:
        share = number_words(model.penalty.threshold * 100)
        times = number_words(model.penalty.multiplier)
        parts.append(f"{times} times that in sessions with over {share} % errors")
    if model.discounts:
        most = number_words(model.discounts[-1].value)
        parts.append(f"up to {most} % off by volume")
    return ", ".join(parts)


def commitment_words(commitment: Commitment, currency: str) -> str:
    """Return a commitment, such as $3,000.00 a month for 300,000 calls."""
    price = money_words(commitment.price, currency)
    return f"{price} a month for {commitment.amount:,} calls"


def _percentage(model: Percentage, currency: str) -> str:
    """Return a percentage with its fee, bounds and allowance."""
    words = f"{number_words(model.rate)} %"
    if model.fixed_amount:
        words += f" plus {money_words(model.fixed_amount, currency)} per event"
    if model.minimum is not None:
        words += f", at least {money_words(model.minimum, currency)}"
    if model.maximum is not None:
        words += f", at most {money_words(model.maximum, currency)}"
    free = []
    if model.free_events is not None:
        free.append(f"{model.free_events:,} events")
    if model.free_amount is not None:
        free.append(money_words(model.free_amount, currency))
    if free:
        words += f", the first {' or '.join(free)} free"
    return words
