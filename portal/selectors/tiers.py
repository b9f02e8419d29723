"""Spend levels of all contracts: the rules, who is close to the next, who moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aforo.lib.money import ZERO, plain
from billing import spend_levels
from billing.models import Customer, CustomerBooks, Subscription
from billing.spend_levels import Stand
from catalog.level_words import trigger_words
from catalog.models import PlanVersion
from catalog.plans import load_plans
from catalog.pricing import Level

# Of so many customers whose books moved last, the closest are shown.
LOOKED_AT = 2_000
SHOWN = 20
# Who has come so far is close.
CLOSE = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Rule:
    """One level of a plan in words."""

    name: str
    reached: str
    multiplier: str  # Of limits a minute, such as 4.
    count: int  # Contracts at it now, of those that were looked at.


@dataclass(frozen=True, slots=True)
class PlanRules:
    """The levels of one published version."""

    version: PlanVersion
    rules: list[Rule]


@dataclass(frozen=True, slots=True)
class Close:
    """A contract that has come far towards its next level."""

    subscription: Subscription
    level: Level
    following: Level
    missing: Decimal
    currency: str
    ratio: Decimal  # How much of the way it has come, from 0 to 1.


def stands(now: dt.datetime) -> list[Stand]:
    """Return where contracts stand, of the customers whose books moved last."""
    newest = CustomerBooks.objects.order_by("-changed_at")
    customers = list(newest.values_list("customer_id", flat=True)[:LOOKED_AT])
    return spend_levels.stands(customers, now)


def plans(found: Sequence[Stand]) -> list[PlanRules]:
    """Return the newest published version of every plan that has levels."""
    newest = PlanVersion.objects.filter(
        state=PlanVersion.State.PUBLISHED, body__has_key="levels"
    ).order_by("plan_id", "-number")
    versions = list(newest.distinct("plan_id").select_related("plan__product"))
    priced = load_plans({version.pk for version in versions})
    counts: dict[tuple[tuple[Level, ...], str], int] = {}
    for stand in found:
        key = (stand.levels, stand.level.key)
        counts[key] = counts.get(key, 0) + 1
    made = []
    for version in versions:
        plan = priced[version.pk].plan
        rows = [
            Rule(
                level.name,
                trigger_words(level, plan.currency, is_first=not at),
                plain(level.limits_multiplier),
                counts.get((plan.levels, level.key), 0),
            )
            for at, level in enumerate(plan.levels)
        ]
        made.append(PlanRules(version, rows))
    return sorted(made, key=lambda one: str(one.version))


def _close(found: Sequence[Stand]) -> Iterator[tuple[Decimal, Stand, Level, Decimal]]:
    """Yield contracts that have come far, with the next level and what is missing."""
    for stand in found:
        if (following := stand.following) is None:
            continue
        level, missing = following
        whole = level.spend_from or level.credits_from or ZERO
        ratio = (whole - missing) / whole if whole else ZERO
        if ratio >= CLOSE:
            yield ratio, stand, level, missing


def close(found: Sequence[Stand]) -> list[Close]:
    """Return the contracts that are closest to their next level, the closest first."""
    ranked = sorted(_close(found), key=lambda row: (-row[0], row[1].subscription_id))
    chosen = ranked[:SHOWN]
    known = Subscription.objects.select_related("customer", "product").in_bulk(
        [stand.subscription_id for _, stand, _, _ in chosen]
    )
    return [
        Close(
            known[stand.subscription_id],
            stand.level,
            level,
            missing,
            stand.currency,
            ratio,
        )
        for ratio, stand, level, missing in chosen
    ]


def of_customer(customer: Customer, now: dt.datetime) -> list[dict[str, object]]:
    """Return where a customer's contracts stand, for its page."""
    found = spend_levels.stands([customer.pk], now)
    known = Subscription.objects.select_related("product").in_bulk(
        [stand.subscription_id for stand in found]
    )
    return [
        {
            "subscription": known[stand.subscription_id],
            "level": stand.level,
            "multiplier": plain(stand.level.limits_multiplier),
            "spend": stand.spend,
            "currency": stand.currency,
            "following": stand.following,
        }
        for stand in found
    ]
