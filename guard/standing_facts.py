"""Margins and spend levels of customers, as the edge holds them beside the totals."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from aforo.lib import ids
from billing import spend_levels
from billing.spend_levels import Stand
from catalog.plans import load_plans
from catalog.pricing.levels import level_in_force
from guard import statements
from guard.engine import state
from guard.engine.decision import MARGIN_LEVELS
from guard.margin import rules
from guard.models import Scope

PREFIXES: Final = {
    Scope.SUBSCRIPTION: "sub",
    Scope.CUSTOMER: "cus",
    Scope.AGENT: "agt",
    Scope.PRODUCT: "prd",
}
THOUSAND: Final = Decimal(1000)

Query = Callable[[str, Mapping[str, Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Standing:
    """At what margins and spend levels customers are, by customer."""

    margins: Mapping[uuid.UUID, state.Margins]
    levels: Mapping[uuid.UUID, state.Levels]


def read(
    query: Query, parameters: Mapping[str, Any], periods: Collection[uuid.UUID]
) -> Standing:
    """Return where customers are; `parameters` hold their ids and now."""
    return Standing(
        margins(query, parameters, periods),
        levels(parameters["ids"], parameters["now"]),
    )


def margins(
    query: Query, parameters: Mapping[str, Any], periods: Collection[uuid.UUID]
) -> dict[uuid.UUID, dict[str, tuple[int, int]]]:
    """Return by customer the severity of each subject that is not OK, by public id.

    Levels of a period that is over bind nobody. A product's level binds where the plan
    says that it does.
    """
    found: dict[uuid.UUID, dict[str, tuple[int, int]]] = defaultdict(dict)
    for row in query(statements.MARGINS, parameters):
        if row.period_id in periods:
            until = row.released_until
            name = ids.public(PREFIXES[Scope(row.scope)], row.subject_id)
            released = int(until.timestamp() * 1000) if until else 0
            found[row.customer_id][name] = MARGIN_LEVELS.index(row.level), released
    rows = query(statements.PRODUCT_MARGINS, parameters)
    plans = load_plans({row.plan_version_id for row in rows}) if rows else {}
    for row in rows:
        own = json.loads(row.overrides).get("limits", {})
        limits = plans[row.plan_version_id].limits
        ladder = rules.ladder_of(limits.get("margin"), own.get("margin"))
        if Scope.PRODUCT in ladder.scopes:
            name = ids.public(PREFIXES[Scope.PRODUCT], row.subject_id)
            found[row.customer_id][name] = MARGIN_LEVELS.index(row.level), 0
    return found


def levels(
    customer_ids: Collection[uuid.UUID], now: dt.datetime
) -> dict[uuid.UUID, dict[str, tuple[int, str, int, str]]]:
    """Return by customer the spend levels of contracts that have some, by public id."""
    found: dict[uuid.UUID, dict[str, tuple[int, str, int, str]]] = defaultdict(dict)
    for stand in spend_levels.stands(customer_ids, now):
        name = ids.public("sub", stand.subscription_id)
        found[stand.customer_id][name] = (*_at(stand, stand.spend), *_at(stand, None))
    return found


def _at(stand: Stand, spend: Decimal | None) -> tuple[int, str]:
    """Return thousandths of limits and the key of the level at some spend."""
    level = level_in_force(
        stand.levels,
        spend=spend or Decimal(0),
        credits=stand.credits,
        given=stand.given,
    )
    return int(level.limits_multiplier * THOUSAND), level.key
