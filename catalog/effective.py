"""What one contract pays: a published version in its currency, with its own terms."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.plans import LOADED_MAX, PricedPlan
from catalog.pricing import Own, Plan, own_that_fits, plan_of_contract

# Contracts' plans, parsed once a process: a snapshot never changes, nor does a version.
_made: dict[tuple[uuid.UUID, str, str], PricedPlan] = {}
_NOTHING = ("", "{}")
# Members of a snapshot's overrides that are about its price.
PRICED = ("currency", "charges")


def own_of(overrides: Mapping[str, Any], commitment: Mapping[str, Any]) -> Own:
    """Return what a snapshot says of its price."""
    return Own(overrides.get("currency", ""), overrides.get("charges", {}), commitment)


def of_texts(priced: PricedPlan, overrides: str, commitment: str) -> PricedPlan:
    """Return what a contract pays whose snapshot has these as JSON texts."""
    if overrides in _NOTHING and commitment in _NOTHING:
        return priced
    key = priced.id, overrides, commitment
    found = _made.get(key)
    if found is None:
        said = json.loads(overrides or "{}"), json.loads(commitment or "{}")
        found = of_contract(priced, *said)
        if len(_made) >= LOADED_MAX:
            _made.clear()
        _made[key] = found
    return found


def of_contract(
    priced: PricedPlan, overrides: Mapping[str, Any], commitment: Mapping[str, Any]
) -> PricedPlan:
    """Return what a contract pays: the version itself where it says nothing else.

    Raises PlanError for terms that do not fit; those of a snapshot were checked when
    it was made.
    """
    if not commitment and not any(overrides.get(name) for name in PRICED):
        return priced
    # By what matters for the price alone, in the order in which it does not matter.
    price = {name: overrides[name] for name in PRICED if overrides.get(name)}
    key = priced.id, _text(price), _text(commitment)
    found = _made.get(key)
    if found is None:
        plan = plan_of_contract(priced.plan, own_of(overrides, commitment))
        found = replace(priced, plan=plan)
        if len(_made) >= LOADED_MAX:
            _made.clear()
        _made[key] = found
    return found


def _text(value: Mapping[str, Any]) -> str:
    """Return the one text of a JSON object."""
    return json.dumps(value, sort_keys=True)


def another(plan: Plan, own: Own) -> Plan:
    """Return what a contract would pay on another plan: what fits of its terms stays.

    In the plan's own currency; prices agreed in another say nothing of it.
    """
    if own.is_empty or own.currency not in ("", plan.currency):
        return plan
    return plan_of_contract(plan, own_that_fits(plan, own))
