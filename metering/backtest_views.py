"""POST /v1/simulate and GET /v1/simulate/{id}: backtests for a tenant's backend."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from aforo.core.models import Tenant
from aforo.core.service_calls import answer
from aforo.lib import ids
from aforo.lib.errors import AforoError
from catalog.models import PlanVersion, Product
from metering import backtest_jobs, backtest_plans, backtest_schema
from metering.canonical import bad
from metering.directory import Caller
from metering.models import Backtest
from metering.service_calls import ONCE, Door

# A backtest changes nothing that is billed: reading is enough.
SCOPE = "read"
PAGE_SIZE, PAGE_MAX = 50, 100
MEMBERS = ("versions", "plans", "customers", "month", "product")


class SimulateView(Door):
    """Asks for a backtest."""

    scope = SCOPE

    @extend_schema(
        operation_id="simulate_create",
        tags=["simulate"],
        summary="Backtest plans on recorded usage",
        description=backtest_schema.DESCRIPTION,
        request={"application/json": backtest_schema.REQUEST},
        parameters=[ONCE],
        responses=backtest_schema.responses(
            202, backtest_schema.ACCEPTED, "It is queued; ask for it under its id."
        ),
        examples=backtest_schema.CREATE_EXAMPLES,
    )
    def post(self, request: Request) -> HttpResponse:
        """Store a backtest."""
        return self.once(request, MEMBERS, _create)


class SimulationView(Door):
    """Shows a backtest."""

    method = "GET"
    scope = SCOPE

    @extend_schema(
        operation_id="simulate_retrieve",
        tags=["simulate"],
        summary="Progress and result of a backtest",
        description=backtest_schema.RESULT_DESCRIPTION,
        parameters=[
            OpenApiParameter(
                "limit", int, description=f"Customers a page: 1 to {PAGE_MAX}, or 50."
            ),
            OpenApiParameter(
                "after", str, description="What `next` of the page before was."
            ),
        ],
        responses=backtest_schema.responses(
            200,
            backtest_schema.SIMULATION,
            "`result` and `customers` are there once `state` is `done`.",
        ),
        examples=backtest_schema.SHOW_EXAMPLES,
    )
    def get(self, request: Request, public_id: str) -> HttpResponse:
        """Return a backtest as far as it is."""

        def show(asked: HttpRequest, caller: Caller) -> HttpResponse:
            found = _find(public_id, caller.tenant_id)
            after, size = _page_of(asked, found)
            shown = told(found)
            if found.result is not None:
                shown |= {"result": found.result, **_customers(found, after, size)}
            return answer(200, shown)

        return self.answered(request, show)


def _create(caller: Caller, given: dict[str, Any]) -> HttpResponse:
    """Store a backtest, and say where it is."""
    made = _requested(given, caller.tenant_id)
    return answer(202, told(made), Location=f"/v1/simulate/{made.public_id}")


def _requested(given: Mapping[str, Any], tenant_id: uuid.UUID) -> Backtest:
    """Store the backtest that a body asks for."""
    tenant = Tenant.objects.get(pk=tenant_id)
    if "month" not in given:
        raise bad("missing_field", "month is missing, such as 2026-10", "month")
    month = backtest_plans.parse_month(given["month"])
    names = _texts(given.get("versions", []), "versions")
    bodies = given.get("plans", [])
    if not isinstance(bodies, list):
        raise bad("invalid_field", "plans is a list of plan JSON", "plans")
    if len(names) + len(bodies) > backtest_plans.PLANS_MAX:
        backtest_plans.checked([{}] * (len(names) + len(bodies)), None)
    plans = [backtest_plans.frozen_version(_version(n, tenant_id)) for n in names]
    plans += [
        backtest_plans.frozen_body(body, tenant_id, number=number)
        for number, body in enumerate(bodies)
    ]
    chosen = given.get("customers")
    return backtest_jobs.request(
        tenant=tenant,
        month=month,
        plans=plans,
        customers=None if chosen is None else _texts(chosen, "customers"),
        product=_product(given.get("product"), tenant_id),
        actor=None,
        actor_label="service key",
    )


def _texts(value: Any, name: str) -> list[str]:
    """Return a list of texts."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise bad("invalid_field", f"{name} is a list of ids", name)
    return value


def _version(name: str, tenant_id: uuid.UUID) -> PlanVersion:
    """Return a version of the tenant; foreign ones are unknown like absent ones."""
    key = ids.parse_public("plv", name)
    rows = PlanVersion.objects.select_related("plan").filter(tenant_id=tenant_id)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        detail = f"No plan version has the id {name[:64]}."
        raise AforoError("unknown_version", 422, detail, field="versions")
    return found


def _product(name: Any, tenant_id: uuid.UUID) -> Product | None:
    """Return the product that is named; None without a name."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise bad("invalid_field", "product is an id such as prd_…", "product")
    key = ids.parse_public("prd", name)
    rows = Product.objects.filter(tenant_id=tenant_id)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        detail = f"No product has the id {name[:64]}."
        raise AforoError("unknown_product", 422, detail, field="product")
    return found


def _find(public_id: str, tenant_id: uuid.UUID) -> Backtest:
    """Return a backtest of the tenant; foreign ones are 404 like absent ones."""
    key = ids.parse_public("bkt", public_id)
    rows = Backtest.objects.filter(tenant_id=tenant_id)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        raise AforoError("not_found", 404, "there is no simulation with this id")
    return found


def told(found: Backtest) -> dict[str, Any]:
    """Return a backtest as the API shows it, without what came out."""
    shown: dict[str, Any] = {
        "id": found.public_id,
        "url": f"/simulator/{found.public_id}",
        "state": found.state,
        "month": f"{found.month:%Y-%m}",
        "plans": [
            {"label": plan["label"], "version": plan["version"]} for plan in found.plans
        ],
        "currency": found.plans[0]["body"]["currency"],
        "customer_count": found.customer_count,
        "done_count": found.done_count,
    }
    if found.failure:
        shown["failure"] = found.failure
    return shown


def _page_of(request: HttpRequest, found: Backtest) -> tuple[uuid.UUID | None, int]:
    """Return after which row a page begins, and how many rows it has.

    Raises AforoError 400 `unknown_parameter` or `invalid_parameter`.
    """
    for name in request.GET:
        if name not in ("limit", "after"):
            detail = f"{name[:80]} is not known here"
            raise bad("unknown_parameter", detail, name[:80])
    text = request.GET.get("limit", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= PAGE_MAX):
        raise bad("invalid_parameter", f"from 1 to {PAGE_MAX}", "limit")
    if "after" not in request.GET:
        return None, int(text)
    customer = ids.parse_public("cus", request.GET["after"])
    rows = found.rows.filter(customer_id=customer) if customer else found.rows.none()
    after = rows.values_list("pk", flat=True).first()
    if after is None:
        raise bad("invalid_parameter", "the id that `next` named", "after")
    return after, int(text)


def _customers(
    found: Backtest, after: uuid.UUID | None, size: int
) -> Mapping[str, Any]:
    """Return a page of the rows of a finished backtest, and where the next begins."""
    rows = found.rows.order_by("pk")
    if after is not None:
        rows = rows.filter(pk__gt=after)
    read = list(rows.values_list("customer_id", "figures")[: size + 1])
    shown = [
        {"customer": ids.public("cus", key), **(figures or {})}
        for key, figures in read[:size]
    ]
    more = len(read) > size
    return {"customers": shown, "next": shown[-1]["customer"] if more else None}
