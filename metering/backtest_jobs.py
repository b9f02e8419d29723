"""Backtests as jobs: asked for, and priced customer by customer."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from aforo.core.models import Tenant, User
from catalog.models import Product
from metering import backtest_plans
from metering.backtest import Pricer
from metering.backtest_figures import row_figures, summarise
from metering.jobs import Queue, Turn
from metering.models import Backtest, BacktestRow


@transaction.atomic
def request(
    *,
    tenant: Tenant,
    month: dt.date,
    plans: Sequence[Mapping[str, Any]],
    customers: Sequence[str] | None,
    product: Product | None,
    actor: User | None,
    actor_label: str = "",
) -> Backtest:
    """Store a backtest for the workers; `customers` None means all.

    `plans` are of backtest_plans.frozen_version and frozen_body. Raises AforoError
    422 as backtest_plans.checked and customers_of do.
    """
    product_id = backtest_plans.checked(plans, product)
    keys = backtest_plans.customers_of(tenant, customers, product_id)
    made = Backtest(
        tenant=tenant,
        month=month,
        product_id=product_id,
        plans=list(plans),
        all_customers=customers is None,
        requested_by=actor,
    )
    return QUEUE.add(
        made,
        keys,
        action="backtest.requested",
        changes={
            "month": [None, f"{month:%Y-%m}"],
            "plans": [None, ", ".join(plan["label"] for plan in plans)],
        },
        audit_label=actor_label,
    )


def cancel(*, backtest_id: uuid.UUID, actor: User | None) -> Backtest:
    """Stop a backtest that waits or runs; what was priced of it is not shown.

    Raises AforoError 409 `backtest_over`.
    """
    return QUEUE.cancel(backtest_id, actor=actor)


def _price(turn: Turn[Backtest]) -> None:
    """Price and keep customer by customer."""
    found = turn.job
    pricer = Pricer(
        tenant_id=found.tenant_id,
        month=found.month,
        plans=[backtest_plans.thawed(p, found.product_id) for p in found.plans],
        product_id=found.product_id,
    )
    for row in turn.left():
        figures = row_figures(pricer.price(row.customer, beat=turn.look))
        with turn.keeping(row):
            row.figures = figures


def _result(found: Backtest, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what came out for all customers together."""
    return summarise(rows, plan_count=len(found.plans))


QUEUE = Queue(
    name="backtest",
    jobs=Backtest,
    rows=BacktestRow,
    task="metering.run_backtests",
    lock=0x61666F726F62,
    work=_price,
    summarise=_result,
)
run, waiting = QUEUE.run, QUEUE.waiting
