"""Which plans and customers a backtest is about, checked before anything runs."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q

from aforo.core.models import Tenant
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from billing.models import Customer
from catalog import pricing
from catalog.models import Metric, PlanVersion, Product
from catalog.plans import PricedPlan, metric_json

PLANS_MAX = 4
CUSTOMERS_MAX = 10_000
# As long as customers' history can matter to a price.
MONTHS_MAX = 36
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


def parse_month(text: object) -> dt.date:
    """Return the first day of a month such as 2026-10 that is over everywhere.

    Raises AforoError 422 `invalid_month`.
    """
    try:
        if not isinstance(text, str) or not _MONTH.fullmatch(text):
            raise ValueError
        first = dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        detail = "Write a month such as 2026-10."
        raise _refused("invalid_month", "month", detail) from None
    today = clock.now().date()
    age = (today.year - first.year) * 12 + today.month - first.month
    if age < 1:
        detail = f"{first:%B %Y} is not over: choose a month that has ended."
        raise _refused("invalid_month", "month", detail)
    if age > MONTHS_MAX:
        detail = f"{first:%B %Y} is more than {MONTHS_MAX} months ago."
        raise _refused("invalid_month", "month", detail)
    return first


def frozen_version(version: PlanVersion) -> dict[str, Any]:
    """Return what a backtest keeps of a version, drafts as they are now.

    Raises AforoError 422 with the code and the path of what a draft lacks.
    """
    parsed = _parsed(version.body, version.tenant_id, f"{version}: ")
    return {
        "label": str(version),
        "version": version.public_id,
        "state": str(version.state),
        "prorate": version.prorate,
        "product": str(version.plan.product_id),
        "body": pricing.plan_to_json(parsed),
    }


def frozen_body(
    body: object, tenant_id: uuid.UUID, *, number: int, label: str = ""
) -> dict[str, Any]:
    """Return what a backtest keeps of plan JSON that was sent with it."""
    parsed = _parsed(body, tenant_id, f"plans[{number}]: ", field=f"plans[{number}]")
    return {
        "label": label or f"Plan {number + 1} of the request",
        "version": None,
        "state": "",
        "prorate": False,
        "product": None,
        "body": pricing.plan_to_json(parsed),
    }


def _parsed(
    body: object, tenant_id: uuid.UUID, where: str, field: str = "versions"
) -> pricing.Plan:
    """Return the plan; metrics that are named by their code are looked up."""
    try:
        return pricing.parse_plan(_with_metrics(body, tenant_id))
    except pricing.PlanError as error:
        path = f"{error.path}: " if error.path else ""
        detail = f"{where}{path}{error.message}"
        raise AforoError(error.code, 422, detail, field=field) from error


def _with_metrics(body: object, tenant_id: uuid.UUID) -> Any:
    """Write out the metrics of a plan's charges that are only named."""
    charges = body.get("charges") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(charges, list):
        return body
    codes = [c.get("metric") for c in charges if isinstance(c, Mapping)]
    named = [code for code in codes if isinstance(code, str) and "\0" not in code]
    known = {
        metric.code: metric_json(metric)
        for metric in Metric.objects.filter(tenant_id=tenant_id, code__in=named)
    }
    made = []
    for index, charge in enumerate(charges):
        metric = charge.get("metric") if isinstance(charge, Mapping) else None
        if isinstance(metric, str):
            if metric not in known:
                path = f"charges[{index}].metric"
                raise pricing.PlanError(
                    "unknown_metric", path, f"there is no metric {metric[:64]}"
                )
            charge = {**charge, "metric": known[metric]}
        made.append(charge)
    return {**body, "charges": made}


def checked(
    plans: Sequence[Mapping[str, Any]], product: Product | None
) -> uuid.UUID | None:
    """Return whose usage the plans price: a product's, or of all for None.

    Raises AforoError 422 `too_many_plans`, `currencies_differ`, `products_differ`.
    """
    if not 1 <= len(plans) <= PLANS_MAX:
        detail = f"Choose one to {PLANS_MAX} plan versions; these are {len(plans)}."
        raise _refused("too_many_plans" if plans else "no_plan", "versions", detail)
    currencies = sorted({plan["body"]["currency"] for plan in plans})
    if len(currencies) > 1:
        detail = (
            f"The plans are in {' and '.join(currencies)}: compare one currency at"
            " a time."
        )
        raise _refused("currencies_differ", "versions", detail)
    if product is not None:
        return product.pk
    named = {plan["product"] for plan in plans if plan["product"]}
    if len(named) > 1:
        detail = "The plans are of different products: say whose usage they price."
        raise _refused("products_differ", "product", detail)
    return uuid.UUID(named.pop()) if named else None


def thawed(plan: Mapping[str, Any], product_id: uuid.UUID | None) -> PricedPlan:
    """Return a kept plan ready for pricing."""
    return PricedPlan(
        id=ids.new_id(),
        plan_id=ids.new_id(),
        product_id=product_id or ids.new_id(),
        name=plan["label"],
        number=0,
        plan=pricing.parse_plan(plan["body"], published=True),
        limits={},
        prorate=plan["prorate"],
    )


def customers_of(
    tenant: Tenant, names: Sequence[str] | None, product_id: uuid.UUID | None
) -> list[uuid.UUID]:
    """Return the customers that are meant: by our id or the tenant's own, or all.

    All are those who ever subscribed to the product. Raises AforoError 422
    `unknown_customer`, `no_customers`, `too_many_customers`.
    """
    rows = Customer.objects.filter(tenant=tenant)
    if names is None:
        sold = Q() if product_id is None else Q(subscriptions__product=product_id)
        found = rows.filter(sold, subscriptions__isnull=False)
        keys = list(found.order_by("pk").values_list("pk", flat=True).distinct())
        if not keys:
            detail = "Nobody has a subscription to price yet."
            raise _refused("no_customers", "customers", detail)
    else:
        keys = _named(rows, names)
    if len(keys) > CUSTOMERS_MAX:
        detail = f"{len(keys):,} customers; at most {CUSTOMERS_MAX:,} in one backtest."
        raise _refused("too_many_customers", "customers", detail)
    return keys


def _named(rows: Any, names: Sequence[str]) -> list[uuid.UUID]:
    """Return the customers behind names, each once, in the order of their ids."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise _refused("no_customers", "customers", "Choose at least one customer.")
    if len(wanted) > CUSTOMERS_MAX:
        detail = f"{len(wanted):,} customers; at most {CUSTOMERS_MAX:,}."
        raise _refused("too_many_customers", "customers", detail)
    ours = {name: ids.parse_public("cus", name) for name in wanted}
    keys = [key for key in ours.values() if key]
    texts = [n for n, key in ours.items() if not key and n and "\0" not in n]
    found = dict(rows.filter(pk__in=keys).values_list("pk", "pk"))
    found |= dict(rows.filter(external_id__in=texts).values_list("external_id", "pk"))
    for name, key in ours.items():
        if (key or name) not in found:
            detail = f"No customer has the id {name[:64]}."
            raise _refused("unknown_customer", "customers", detail)
    return sorted(set(found.values()))


def _refused(code: str, field: str, detail: str) -> AforoError:
    """Return a refusal of one member of the request."""
    return AforoError(code, 422, detail, field=field)
