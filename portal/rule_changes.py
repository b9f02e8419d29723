"""Saving a rule in shadow, and enforcing it: in a plan's draft or a contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from aforo.core.models import User
from aforo.lib.errors import AforoError
from aforo.lib.money import plain
from billing import own_limits
from catalog import plans
from catalog.limits import check_limits
from catalog.models import Metric, Plan, PlanVersion
from guard import rules
from portal.selectors.rules import Contract, limit_of


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a rule should be: its limit as limits JSON has it, and its mode."""

    name: str
    limit: Any
    is_shadow: bool
    actor: User
    reason: str = ""


def limit_from(name: str, given: Mapping[str, Any]) -> Any:
    """Return a limit as limits JSON has it from a form's limit and seconds."""
    if name == "spend_cap":
        return plain(given["limit"])
    count = int(given["limit"])
    if name == "loop.errors":
        return {"count": count}
    if name.startswith("loop."):
        return {"count": count, "seconds": given["seconds"]}
    return count


def changed(
    own: Mapping[str, Any], effective: Mapping[str, Any], wanted: Wanted
) -> dict[str, Any]:
    """Return limits JSON in which one rule is as wanted.

    `effective` is what holds: a list of quotas and the loop guard are said as a whole,
    so what they hold beside the rule is kept.
    """
    made, name = dict(own), wanted.name
    if name.startswith(rules.QUOTAS):
        metric = name.removeprefix(rules.QUOTAS)
        quotas = [dict(quota) for quota in effective.get("quotas") or ()]
        for quota in quotas:
            if quota["metric"] == metric:
                quota["limit"] = wanted.limit
        made["quotas"] = quotas
    elif name.startswith("loop."):
        part = name.removeprefix("loop.")
        made["loop"] = {**(effective.get("loop") or {}), part: wanted.limit}
    else:
        made[name] = wanted.limit
    made["shadow"] = {**own.get("shadow", {}), name: wanted.is_shadow}
    return made


def save_in_contract(contract: Contract, wanted: Wanted) -> None:
    """Let one contract have the rule, from now on; AforoError as `own_limits`."""
    own_limits.set_limits(
        subscription=contract.snapshot.subscription,
        limits=changed(contract.own, contract.limits, wanted),
        actor=wanted.actor,
        reason=wanted.reason,
    )


def save_in_draft(plan: Plan, wanted: Wanted) -> PlanVersion:
    """Put the rule into the plan's draft, which somebody publishes.

    Raises AforoError as `catalog.plans.save_draft`, 422 as `check_limits`.
    """
    newest = plans.newest_version(plan)
    if newest is None:
        raise AforoError("no_version", 422, f"{plan} has no version yet.")
    limits = changed(newest.limits, newest.limits, wanted)
    if limit_of(limits, wanted.name) is None:
        raise AforoError("nothing_changes", 422, "The draft has no such limit.")
    metrics = Metric.objects.filter(tenant_id=plan.tenant_id)
    check_limits(limits, metrics=frozenset(metrics.values_list("code", flat=True)))
    return plans.save_draft(
        plan=plan,
        body=newest.body,
        limits=limits,
        actor=wanted.actor,
        prorate=newest.prorate,
        expected_revision=newest.revision,
    )
