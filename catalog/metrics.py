"""Which plans price a metric, and what of it may still be changed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from catalog.checks import apply_changes
from catalog.models import Metric, PlanVersion
from catalog.products import check_metric_field

ALWAYS = frozenset({"name", "description", "unit", "integer_only"})
# What decides the quantity: fixed as soon as a published version prices the metric.
WHILE_UNUSED = frozenset({"aggregation", "field", "event_types", "window"})


def named_in(version: PlanVersion) -> set[str]:
    """Return the codes of the metrics that a version's charges and quotas name."""
    codes: set[str] = set()
    charges = version.body.get("charges", ())
    for charge in charges if isinstance(charges, list) else ():
        metric = charge.get("metric") if isinstance(charge, Mapping) else None
        code = metric.get("key") if isinstance(metric, Mapping) else metric
        if isinstance(code, str):
            codes.add(code)
    quotas = version.limits.get("quotas", ())
    for quota in quotas if isinstance(quotas, list) else ():
        if isinstance(quota, Mapping) and isinstance(quota.get("metric"), str):
            codes.add(quota["metric"])
    return codes


def uses(tenant_id: uuid.UUID) -> dict[str, list[PlanVersion]]:
    """Return the plan versions by the metric codes that they name; one statement."""
    found: dict[str, list[PlanVersion]] = {}
    versions = PlanVersion.objects.filter(tenant_id=tenant_id)
    for version in versions.select_related("plan").order_by("plan__name", "-number"):
        for code in named_in(version):
            found.setdefault(code, []).append(version)
    return found


def is_fixed(versions: list[PlanVersion]) -> bool:
    """Tell whether one of the versions that name a metric was ever published."""
    return any(v.state != PlanVersion.State.DRAFT for v in versions)


@transaction.atomic
def update_metric(
    *, metric: Metric, changes: Mapping[str, Any], actor: User | None
) -> Metric:
    """Change a metric.

    The code is fixed from the start. Aggregation, field, event types and window are
    fixed once a published version prices the metric: bodies of versions are complete in
    themselves, so a change would move no price, but one code would mean two figures.
    Raises AforoError 422 `immutable_field`, `field_required` or `invalid_value`.
    """
    metric = Metric.objects.select_for_update().get(pk=metric.pk)
    users = uses(metric.tenant_id).get(metric.code, [])
    changeable = ALWAYS if is_fixed(users) else ALWAYS | WHILE_UNUSED
    before = apply_changes(metric, changes, changeable)
    check_metric_field(metric.aggregation, metric.field)
    if before:
        metric.save(update_fields=list(before))
        audit.record(
            tenant=metric.tenant_id,
            actor=actor,
            action="metric.changed",
            target=metric,
            changes={n: [old, getattr(metric, n)] for n, old in before.items()},
        )
    return metric
