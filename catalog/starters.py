"""Starting templates of plans: what to charge for, with the metrics that it needs.

Each is a file of templates_data/: order, name, description, metrics and charges in
plan JSON. A metric that the tenant lacks is created when a plan starts from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction

from aforo.core.models import Tenant, User
from aforo.lib.errors import AforoError
from aforo.lib.money import CURRENCIES
from catalog import plans, products
from catalog.models import Metric, Plan, Product

FOLDER = Path(__file__).parent / "templates_data"


@dataclass(frozen=True, slots=True, eq=False)
class MetricStart:
    """A metric that a template counts."""

    code: str
    name: str
    aggregation: str
    field: str  # Empty for a count of events.
    unit: str
    event_types: tuple[str, ...]
    window: str = "period"

    def is_same(self, metric: Metric) -> bool:
        """Tell whether a metric of the same code counts the same."""
        return (
            metric.aggregation == self.aggregation
            and metric.field == self.field
            and set(metric.event_types) == set(self.event_types)
            and metric.window == self.window
        )


@dataclass(frozen=True, slots=True, eq=False)
class Starter:
    """One template."""

    code: str
    name: str
    description: str
    metrics: tuple[MetricStart, ...]
    charges: Sequence[Mapping[str, Any]]


@cache
def starters() -> dict[str, Starter]:
    """Return the templates by code, in the order in which they are offered."""
    found = [
        (path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in FOLDER.glob("*.json")
    ]
    return {
        code: Starter(
            code,
            data["name"],
            data["description"],
            tuple(
                MetricStart(**{**row, "event_types": tuple(row.get("event_types", ()))})
                for row in data["metrics"]
            ),
            data["charges"],
        )
        for code, data in sorted(found, key=lambda pair: pair[1]["order"])
    }


def metric_codes(tenant: Tenant, starter: Starter) -> dict[str, str]:
    """Return under which code the tenant counts each metric of a template.

    One that counts the same is used, whatever its code; where there is none, a code
    that is still free stands for the metric that a plan would create.
    """
    known = list(Metric.objects.filter(tenant=tenant))
    taken = {metric.code for metric in known}
    codes = {}
    for wanted in starter.metrics:
        same = [m.code for m in known if wanted.is_same(m)]
        code, number = wanted.code, 2
        while not same and code in taken:
            code, number = f"{wanted.code}_{number}", number + 1
        if same:
            code = wanted.code if wanted.code in same else same[0]
        codes[wanted.code] = code
    return codes


def missing_metrics(tenant: Tenant, starter: Starter) -> list[MetricStart]:
    """Return the metrics that a plan from this template would create."""
    codes = metric_codes(tenant, starter)
    found = Metric.objects.filter(tenant=tenant, code__in=codes.values())
    known = set(found.values_list("code", flat=True))
    return [
        replace(metric, code=codes[metric.code])
        for metric in starter.metrics
        if codes[metric.code] not in known
    ]


@transaction.atomic
def start_plan(
    *,
    product: Product,
    name: str,
    code: str,
    currency: str,
    starter: Starter | None,
    actor: User | None,
) -> Plan:
    """Add a plan with a first draft, and the metrics that its template needs.

    Raises AforoError 422 `invalid_code`, `already_exists` or `unknown_currency`.
    """
    if currency not in CURRENCIES:
        detail = f"{currency!r} is no currency."
        raise AforoError("unknown_currency", 422, detail, field="currency")
    plan = plans.create_plan(product=product, name=name, code=code, actor=actor)
    charges: list[dict[str, Any]] = []
    if starter is not None:
        tenant = Tenant.objects.get(pk=product.tenant_id)
        codes = metric_codes(tenant, starter)
        for metric in missing_metrics(tenant, starter):
            products.create_metric(
                tenant=tenant,
                code=metric.code,
                name=metric.name,
                aggregation=Metric.Aggregation(metric.aggregation),
                unit=metric.unit,
                field=metric.field,
                event_types=metric.event_types,
                window=Metric.Window(metric.window),
                actor=actor,
            )
        for charge in starter.charges:
            counted = {"metric": codes[charge["metric"]]} if "metric" in charge else {}
            charges.append({**charge, **counted})
    body = {"currency": currency, "charges": charges}
    plans.save_draft(plan=plan, body=body, limits={}, actor=actor, expected_revision=0)
    return plan
