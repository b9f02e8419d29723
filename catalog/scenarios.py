"""Saved quantities for a plan's simulator: kept, named otherwise, thrown away."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib.errors import AforoError
from catalog.checks import check_fields
from catalog.models import Plan, UsageScenario
from catalog.products import taken

SCENARIOS_MAX = 100
QUANTITIES_MAX = 3_000
TEXT_MAX = 40
# A quantity, a number of events or the cost of a unit: portal.composer.meters.
_BOX = re.compile(r"[qnk]-[0-9a-f]{10}", re.ASCII)


def _lock(plan: Plan) -> None:
    """Let nobody else change the plan's scenarios meanwhile."""
    Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)


def _check_name(plan: Plan, name: str, *, own: UsageScenario | None) -> str:
    """Return a name that can be kept; refuse an empty one and another scenario's."""
    name = " ".join(name.split())
    if not name:
        detail = "Type a name, such as Growth month."
        raise AforoError("invalid_value", 422, detail, field="name")
    if not name.isprintable():
        detail = "A name has no characters that cannot be printed."
        raise AforoError("invalid_value", 422, detail, field="name")
    others = UsageScenario.objects.filter(plan=plan, name=name)
    if own is not None:
        others = others.exclude(pk=own.pk)
    if others.exists():
        raise taken("name", name)
    return name


@transaction.atomic
def save(
    *, plan: Plan, name: str, quantities: Mapping[str, str], actor: User | None
) -> UsageScenario:
    """Keep quantities under a new name.

    Raises AforoError 422 `already_exists`, `invalid_value` or `too_many`.
    """
    _lock(plan)
    name = _check_name(plan, name, own=None)
    if UsageScenario.objects.filter(plan=plan).count() >= SCENARIOS_MAX:
        detail = f"A plan keeps {SCENARIOS_MAX} scenarios. Delete one first."
        raise AforoError("too_many", 422, detail, field="name")
    made = UsageScenario(
        tenant_id=plan.tenant_id,
        plan=plan,
        name=name,
        quantities=_checked(quantities),
    )
    check_fields(made)
    made.save(force_insert=True)
    _record(made, "scenario.saved", actor, {"plan": [None, plan.name]})
    return made


@transaction.atomic
def replace(
    *, scenario: UsageScenario, quantities: Mapping[str, str], actor: User | None
) -> UsageScenario:
    """Keep other quantities under the name of a scenario."""
    _lock(scenario.plan)
    before = scenario.quantities
    scenario.quantities = _checked(quantities)
    check_fields(scenario)
    scenario.save(update_fields=["quantities"])
    changed = {
        box: [before.get(box), scenario.quantities.get(box)]
        for box in sorted({*before, *scenario.quantities})
        if before.get(box) != scenario.quantities.get(box)
    }
    _record(scenario, "scenario.replaced", actor, changed)
    return scenario


@transaction.atomic
def rename(*, scenario: UsageScenario, name: str, actor: User | None) -> UsageScenario:
    """Call a scenario otherwise; raises AforoError 422 as `save` does."""
    _lock(scenario.plan)
    before = scenario.name
    scenario.name = _check_name(scenario.plan, name, own=scenario)
    check_fields(scenario)
    scenario.save(update_fields=["name"])
    _record(scenario, "scenario.renamed", actor, {"name": [before, scenario.name]})
    return scenario


@transaction.atomic
def delete(*, scenario: UsageScenario, actor: User | None) -> None:
    """Throw a scenario away."""
    _record(scenario, "scenario.deleted", actor, {"name": [scenario.name, None]})
    scenario.delete()


def _checked(quantities: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the simulator's boxes alone, each of a length to keep."""
    kept = {
        box: text.strip()
        for box, text in quantities.items()
        if _BOX.fullmatch(box) and text.strip()
    }
    if len(kept) > QUANTITIES_MAX or any(len(t) > TEXT_MAX for t in kept.values()):
        detail = f"At most {QUANTITIES_MAX:,} quantities of {TEXT_MAX} characters."
        raise AforoError("too_many", 422, detail, field="quantities")
    return kept


def _record(
    scenario: UsageScenario,
    action: str,
    actor: User | None,
    changes: dict[str, list[str | None]],
) -> None:
    """Write down who did what to a scenario."""
    audit.record(
        tenant=scenario.tenant_id,
        actor=actor,
        action=action,
        target=scenario,
        changes=dict(changes),
    )
