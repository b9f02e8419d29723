"""What limit would fit a rule: the 95th percentile of what contracts really use."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from django.db.models import Sum
from django.db.models.functions import Coalesce

from aforo.lib.money import display
from billing.models import UsageTotal
from metering.models import UsageRollup
from portal.selectors.rules import DAYS, Contract, Rule

# Calls of an hour come unevenly: a minute may hold this many times the average.
PEAK = 3
HEADROOM = Decimal("1.2")
LOOPS = {"loop.same_call": (50, 60), "loop.retries": (10, 60), "loop.errors": (5, None)}


class Suggested(NamedTuple):
    """A limit that would fit, and how it was found."""

    limit: Decimal | int
    seconds: int | None
    words: str


def _p95(values: Sequence[Decimal]) -> Decimal:
    """Return the smallest value that 95 % are not above."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * 0.95) - 1]


def _hours(
    contracts: Sequence[Contract], now: dt.datetime, *, tokens: bool
) -> list[Decimal]:
    """Return what customers used in each hour with calls, of the last seven days."""
    rows = UsageRollup.objects.filter(
        hour__gte=now - dt.timedelta(days=DAYS),
        customer_id__in={c.snapshot.customer_id for c in contracts},
        product_id__in={c.snapshot.subscription.product_id for c in contracts},
    )
    of = ("input_tokens", "output_tokens") if tokens else ("event_count",)
    sums = rows.order_by().values("customer_id", "product_id", "hour")
    found = sums.annotate(**{f"sum_{n}": Coalesce(Sum(n), 0) for n in of})
    return [Decimal(sum(row[f"sum_{n}"] for n in of)) for row in found]


def _periods(contracts: Sequence[Contract], name: str) -> list[Decimal]:
    """Return what contracts used in each of their periods."""
    column = {
        "spend_cap": "spend",
        "quotas.tokens": "token_count",
        "quotas.requests": "event_count",
    }.get(name)
    if column is None:
        return []
    rows = UsageTotal.objects.filter(
        subscription_id__in=[c.snapshot.subscription_id for c in contracts]
    )
    sums = rows.order_by().values("subscription_id", "period_id")
    return [Decimal(row["of"]) for row in sums.annotate(of=Sum(column))]


def suggest(
    rule: Rule, contracts: Sequence[Contract], now: dt.datetime, currency: str
) -> Suggested | None:
    """Return a limit for a rule; None where nothing was used to tell it from."""
    if rule.name in LOOPS:
        count, seconds = LOOPS[rule.name]
        return Suggested(count, seconds, "the usual start")
    if rule.name.endswith("_per_minute"):
        hours = _hours(contracts, now, tokens=rule.name.startswith("tokens"))
        if not hours:
            return None
        minute = _p95(hours) / 60
        words = (
            f"{PEAK} times the average minute of the 95th percentile of {len(hours):,}"
            f" hours with calls ({minute:,.1f})"
        )
        return Suggested(max(1, math.ceil(minute * PEAK)), None, words)
    periods = _periods(contracts, rule.name)
    if not periods:
        return None
    most = _p95(periods)
    of = f"the 95th percentile of {len(periods):,} periods"
    if rule.name == "spend_cap":
        limit = (most * HEADROOM).quantize(Decimal("0.01"), ROUND_CEILING)
        return Suggested(limit, None, f"{of} ({display(most, currency)}) and a fifth")
    return Suggested(
        max(1, math.ceil(most * HEADROOM)), None, f"{of} ({most:,.0f}) and a fifth"
    )
