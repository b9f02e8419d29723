"""A slow second opinion on outcomes: looks at the whole list of events at once.

Reads the plan JSON with fractions and without any code of the pricing package, so that
a mistake would have to be made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from catalog.pricing import UsageEvent

Json = Mapping[str, Any]


def shadow_period(price: Json, events: Sequence[UsageEvent]) -> tuple[int, Decimal]:
    """Return how many outcomes a list of events has, and what is billed beyond."""
    count, beyond = 0, Fraction(0)
    for own in _groups(events):
        if not _counts(price, own):
            continue
        count += 1
        if "cost_budget" in price:
            cost = sum((Fraction(one.cost or 0) for one in own), Fraction(0))
            beyond += max(Fraction(0), cost - Fraction(price["cost_budget"]["amount"]))
    share = Fraction(price.get("cost_budget", {}).get("overage_percent", 0)) / 100
    return count, Decimal(round(beyond * share * 10**12)).scaleb(-12)


def _groups(events: Sequence[UsageEvent]) -> list[list[UsageEvent]]:
    """Return the events by what holds them together; those without are alone."""
    names = sorted({one.correlation for one in events if one.correlation})
    held = [[one for one in events if one.correlation == name] for name in names]
    return held + [[one] for one in events if not one.correlation]


def _fits(rule: Json, event: UsageEvent) -> bool:
    """Tell whether an event is of a rule's type and meets its conditions."""
    return event.event_type == rule["event_type"] and all(
        event.properties.get(name) == value
        for name, value in rule.get("where", {}).items()
    )


def _is_single(rules: Sequence[Json]) -> bool:
    """Tell whether one event alone is an outcome."""
    return len(rules) == 1 and rules[0].get("at_least", 1) == 1


def _completion(price: Json, own: Sequence[UsageEvent]) -> datetime | None:
    """Return when the last missing piece came."""
    outcome = price["outcome"]
    first, enough = [], []
    for rule in outcome["all"]:
        times = sorted(one.occurred_at for one in own if _fits(rule, one))
        least = rule.get("at_least", 1)
        if len(times) < least:
            return None
        first.append(times[0])
        enough.append(times[least - 1])
    limit = outcome.get("within_seconds")
    if limit is not None and (max(first) - min(first)).total_seconds() > limit:
        return None
    return max(enough)


def _counts(price: Json, own: Sequence[UsageEvent]) -> bool:
    """Tell whether a group is an outcome that is charged."""
    done = _completion(price, own)
    if done is None:
        return False
    if not own[0].correlation and not _is_single(price["outcome"]["all"]):
        return False
    confirm, reverse = price.get("confirm"), price.get("reverse")
    if confirm:
        said = [one.occurred_at for one in own if _fits(confirm, one)]
        limit = confirm.get("within_seconds")
        if limit is not None:
            end = done + timedelta(seconds=limit)
            said = [at for at in said if done <= at <= end]
        if not said:
            return False
    if reverse:
        limit = reverse.get("within_seconds")
        for at in (one.occurred_at for one in own if _fits(reverse, one)):
            late = limit is not None and at > done + timedelta(seconds=limit)
            if at >= done and not late:
                return False
    return True
