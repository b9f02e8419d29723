"""Taking one event out of a period's usage without reading all the others.

Only where the usage is a sum that the event is a part of. What is more than a sum (the
largest value, the earliest events, single sessions and outcomes, windows) is collected
again from the events that stay.
"""

from __future__ import annotations

import decimal

from catalog.pricing.exact import EXACT
from catalog.pricing.plan import Aggregation, Plan
from catalog.pricing.rating import collect
from catalog.pricing.state import (
    NO_TALLY,
    NO_WEIGHED,
    ChargeState,
    PlanState,
    Tally,
    Weighed,
)
from catalog.pricing.usage import UsageEvent

# Aggregates that are sums: of numbers, of ones, or both.
SUMS = (Aggregation.SUM, Aggregation.COUNT, Aggregation.AVG)


def without(plan: Plan, state: PlanState, event: UsageEvent) -> PlanState | None:
    """Return the usage less one event of it; None where the sums do not say.

    The event is as it was rated: with its cost and its spend level.
    """
    summed = {
        charge.key
        for charge in plan.charges
        if charge.metric is None or charge.metric.aggregation in SUMS
    }
    after = dict(state)
    part_of = collect(plan, (event,))
    with decimal.localcontext(EXACT):
        for key, part in part_of.items():
            left = _less(state.get(key), part) if key in summed else None
            if left is None:
                return None
            if left in (NO_TALLY, NO_WEIGHED):
                del after[key]
            else:
                after[key] = left
    return after


def _less(whole: ChargeState | None, part: ChargeState) -> ChargeState | None:
    """Return a sum less a part of it, or None when it is no sum."""
    if isinstance(whole, Tally) and isinstance(part, Tally):
        if whole.latest or whole.seen or part.latest or part.seen or part.beyond:
            return None
        return Tally(
            whole.count - part.count, whole.value - part.value, beyond=whole.beyond
        )
    if isinstance(whole, Weighed) and isinstance(part, Weighed):
        meters = dict(whole.meters)
        for name, value in part.meters.items():
            meters[name] = meters.get(name, value) - value
            if not meters[name]:
                del meters[name]
        return Weighed(
            whole.count - part.count,
            whole.units - part.units,
            whole.raised - part.raised,
            meters,
        )
    return None
