"""Doubts about a plan: the linter's, and names that no event is known to carry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from catalog.models import Product
from catalog.pricing import (
    Charge,
    Compound,
    Dimensions,
    Finding,
    Plan,
    Recipe,
    lint,
)
from metering.measurements import CANONICAL
from portal.selectors.seen import seen


def doubts(plan: Plan, product: Product) -> tuple[Finding, ...]:
    """Return what may be meant otherwise; none keeps a plan from being sold."""
    return (*lint(plan), *unseen(plan, product))


def unseen(plan: Plan, product: Product) -> Iterator[Finding]:
    """Find measurements that are typed in a price and that nothing is known to carry.

    Known are Aforo's own names, those of metrics, and those of the newest events.
    """
    odd = [(c, sorted(set(_measurements(c)) - CANONICAL)) for c in plan.charges]
    if not any(names for _, names in odd):
        return
    known = seen(product).names["measurements"]
    for charge, names in odd:
        for name in names:
            if name in known:
                continue
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; perhaps {near[0]} is meant" if near else ""
            message = f"{charge.name}: no event is known to carry {name}{hint}"
            yield Finding("unseen_measurement", (charge.key,), message)


def _measurements(charge: Charge) -> Iterable[str]:
    """Return the measurements that a charge's price names."""
    match charge.model:
        case Dimensions() as model:
            return model.tokens
        case Recipe() as model:
            return [one.measurement for one in model.weights if one.measurement]
        case Compound() as model:
            return model.absorbs
        case _:
            return ()
