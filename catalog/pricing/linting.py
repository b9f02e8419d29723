"""What is allowed in a plan and still looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from catalog.pricing.plan import Charge, Filter, Metric, Plan, Source

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

    code: str  # overlap | counted_twice
    charges: tuple[str, ...]
    message: str


def lint(plan: Plan) -> tuple[Finding, ...]:
    """Return the doubts about a plan, in the order of its charges."""
    pairs = [
        (a, b)
        for a, b in combinations(plan.charges, 2)
        if a.metric is not None and b.metric is not None and _meet(a, b)
    ]
    return (*_overlaps(pairs, plan.charges), *_counted_twice(pairs))


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
