"""Short ways to request backtests and to read what they say."""

from __future__ import annotations

import datetime as dt
from typing import Any

from aforo.lib import clock
from billing import accounts, subscriptions
from billing.models import Customer
from billing.tests.cast import DAY, OCTOBER
from metering import backtest_jobs, backtest_plans, pipeline
from metering.models import Backtest
from tests.factories import Shop, make_version, store_event

MONTH = dt.date(2026, 10, 1)
DOUBLE: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "metric": "tool_calls",
            "price": {"model": "per_unit", "unit_amount": "0.02"},
        }
    ],
}


def fill(shop: Shop, count: int = 3) -> None:
    """Give the seller some more customers, and everybody usage in October."""
    with clock.travel(OCTOBER):
        for number in range(count - 1):
            customer = accounts.create_customer(
                tenant=shop.tenant, name=f"More {number}", actor=None
            )
            subscriptions.subscribe(
                customer=customer,
                product=shop.product,
                plan_version=shop.version,
                start_at=OCTOBER,
                actor=None,
            )
    with clock.travel(OCTOBER + 9 * DAY):
        for number, customer in enumerate(Customer.objects.filter(tenant=shop.tenant)):
            who: dict[str, Any] = {"customer": customer, "agent": None, "team": None}
            for _ in range(number + 1):
                store_event(shop, {"tool_calls": 100}, credential=None, **who)
        pipeline.rate()


def ask(shop: Shop, *bodies: dict[str, Any], **more: Any) -> Backtest:
    """Request a backtest of October."""
    versions = [make_version(shop.product, body) for body in bodies or (DOUBLE,)]
    values: dict[str, Any] = {
        "tenant": shop.tenant,
        "month": MONTH,
        "plans": [backtest_plans.frozen_version(v) for v in versions],
        "customers": None,
        "product": None,
        "actor": shop.owner,
    }
    return backtest_jobs.request(**(values | more))


def told(backtest: Backtest) -> list[Any]:
    """Return all that a finished backtest says."""
    backtest.refresh_from_db()
    rows = backtest.rows.order_by("customer_id")
    return [backtest.result, *rows.values_list("customer_id", "figures")]
