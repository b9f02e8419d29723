"""Limits that one contract has otherwise than its plan: set and audited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books, subscriptions
from billing.models import Subscription, SubscriptionSnapshot
from billing.own_prices import last_snapshot
from catalog.limits import check_limits
from catalog.models import Metric


def set_limits(
    *,
    subscription: Subscription,
    limits: Mapping[str, Any],
    actor: User | None,
    reason: str = "",
) -> SubscriptionSnapshot:
    """Let a contract have these limits before its plan's, from now on.

    `limits` is the whole of its own limits JSON: what it does not name is as the plan
    says. The change is a snapshot of the same plan version, so tiers and included
    quantities start again. Raises AforoError 422 `invalid_limits`, `unknown_metric`
    and `nothing_changes`; 409 as `own_prices.last_snapshot`; and as
    `subscriptions.change_plan` for the time.
    """
    metrics = Metric.objects.filter(tenant_id=subscription.tenant_id)
    check_limits(limits, metrics=frozenset(metrics.values_list("code", flat=True)))
    with books.transaction(subscription.customer_id) as posting:
        last = last_snapshot(subscription)
        before = last.overrides.get("limits", {})
        if before == dict(limits):
            detail = "Nothing would change: these are the limits in force."
            raise AforoError("nothing_changes", 422, detail)
        made = subscriptions.succeed(
            posting,
            subscription,
            at=clock.now(),
            plan_version=last.plan_version,
            overrides={**last.overrides, "limits": dict(limits)},
            commitment=last.commitment,
        )
        audit.record(
            tenant=subscription.tenant_id,
            actor=actor,
            action="subscription.limits_changed",
            target=subscription,
            changes={
                name: [before.get(name), limits.get(name)]
                for name in sorted({*before, *limits})
                if before.get(name) != limits.get(name)
            },
            reason=reason,
        )
        books.configure([subscription.customer_id])
    return made
