"""What is allowed in a plan and still looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from catalog.pricing.exact import HUNDRED, ZERO
from catalog.pricing.plan import (
    Charge,
    Compound,
    Dimensions,
    Discount,
    Filter,
    Flat,
    Metric,
    Plan,
    Source,
)

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


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt about a plan."""

    code: str  # overlap, counted_twice, …
    charges: tuple[str, ...]
    message: str


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
        *_dimensions(plan),
        *_absorbed(plan),
        *_terms(plan),
    )


def _absorbed(plan: Plan) -> Iterator[Finding]:
    """Find measurements that an outcome's price covers and a charge prices too."""
    for charge in plan.charges:
        if not isinstance(charge.model, Compound):
            continue
        for other in plan.charges:
            name = _measurement(other.metric)
            if name in charge.model.absorbs:
                message = (
                    f"{name} is covered by the price of {charge.key} and priced by "
                    f"{other.key} too"
                )
                yield Finding("absorbed_and_priced", (charge.key, other.key), message)


def _dimensions(plan: Plan) -> Iterator[Finding]:
    """Find rates by dimension that some usage escapes or that never apply."""
    for charge in plan.charges:
        model = charge.model
        if not isinstance(model, Dimensions):
            continue
        if model.tools and model.other_tools is None and not model.volume_rates:
            message = "calls of tools without a rate of their own are free: add *"
            yield Finding("unlisted_tools_free", (charge.key,), message)
        if model.tools and model.volume_rates:
            message = "volume tiers price other tools only: named tools keep their rate"
            yield Finding("named_tools_keep_rate", (charge.key,), message)
        if model.other_tools is not None and model.volume_rates:
            message = "volume tiers replace the rate of *, which is never used"
            yield Finding("rate_unused", (charge.key,), message)
        if model.multipliers and not model.tokens:
            message = "tool multipliers multiply token rates, and there are none"
            yield Finding("multipliers_unused", (charge.key,), message)
        if model.included_tools and not model.session_fee:
            message = "calls are included in every session, and a session has no fee"
            yield Finding("included_without_fee", (charge.key,), message)


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
                f"an event can match both {a.key} and {b.key} equally well; "
                f"{a.key} is used because it comes first"
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
                    f"{whole.key} and {part.key} price them twice"
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
            message = f"discounts take more than all of {charge.key}: it is free"
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
