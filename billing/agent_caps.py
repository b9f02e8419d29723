"""Spend caps of agents and teams: set, and met or not.

An agent whose cap is met is paused by it until the period ends or the cap is raised.
Nothing is stored for that: it follows from the cap and from what was spent.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from decimal import Decimal

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib.money import ZERO, plain
from billing import accounts, agent_spend, books
from billing.models import Agent, BillingPeriod, Team
from billing.signals import restricting

Capped = Agent | Team


@transaction.atomic
def set_spend_cap(
    *, target: Capped, amount: Decimal | None, actor: User | None, reason: str = ""
) -> None:
    """Limit what an agent, or a team's agents, may be charged in a period.

    None: no limit. A lower cap reaches the edge before the commit, a higher one after
    it. Raises AforoError 422 `invalid_cap`.
    """
    accounts.check_cap(amount)
    books.configure([target.customer_id])
    rows = type(target).objects.select_for_update()
    before = rows.get(pk=target.pk).spend_cap
    target.spend_cap = amount
    target.save(update_fields=["spend_cap"])
    audit.record(
        tenant=target.tenant_id,
        actor=actor,
        action=f"{target._meta.model_name}.spend_cap_set",
        target=target,
        changes={
            "spend_cap": [
                None if before is None else plain(before),
                None if amount is None else plain(amount),
            ]
        },
        reason=reason,
    )
    if amount is not None and (before is None or amount < before):
        restricting.send(sender=None, customer_id=target.customer_id, spend_cap=amount)


def spent(period: BillingPeriod | None) -> Mapping[uuid.UUID, Decimal]:
    """Return what capped agents and teams spent in a period, by their ids."""
    return {} if period is None else spent_in([period.pk])


def spent_in(period_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Decimal]:
    """Return the same of periods of several customers, one of each."""
    return {one.subject_id: one.amount for one in agent_spend.of_capped(period_ids)}


def met(target: Capped, spends: Mapping[uuid.UUID, Decimal]) -> bool:
    """Tell whether the cap of an agent or a team is used up."""
    cap = target.spend_cap
    return cap is not None and spends.get(target.pk, ZERO) >= cap
