"""A seller for the ingest benchmark: five priced measurements, a few customers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from aforo.core import service_keys
from aforo.core.models import Tenant
from aforo.lib import clock
from billing import accounts, subscriptions
from billing.models import Agent
from catalog import plans, products
from catalog.models import CostRate, Metric, PlanVersion, Product, ProductType

TIERS = [
    {"up_to": "10000000", "unit_amount": "3.00"},
    {"up_to": None, "unit_amount": "2.50"},
]
# One price for each measurement of an event, the first of them in tiers.
PRICES = {
    "input_tokens": {"model": "graduated", "per": 1_000_000, "tiers": TIERS},
    "output_tokens": {"model": "per_unit", "per": 1_000_000, "unit_amount": "15"},
    "cache_read_tokens": {"model": "per_unit", "per": 1_000_000, "unit_amount": "0.3"},
    "tool_calls": {"model": "per_unit", "unit_amount": "0.002"},
    "web_searches": {"model": "per_unit", "unit_amount": "0.01"},
}
COSTS = {
    "input_uncached_tokens": "0.0000025",
    "cache_read_tokens": "0.00000025",
    "output_tokens": "0.00001",
    "tool_calls": "0.0001",
    "web_searches": "0.005",
}
MODEL = "gpt-4o"


def make(*, customers: int, days: int = 40) -> str:
    """Make the seller and its customers (`customer-0` …), and return a service key.

    Customer n has the agent `agent-n`; contracts and cost rates began `days` ago.
    """
    tenant = Tenant.objects.create(name="Bench")
    _, key = service_keys.issue(
        tenant=tenant, name="Bench", scopes=["ingest"], actor=None
    )
    product = products.create_product(
        tenant=tenant, name="LLM", code="llm", type=ProductType.AGENTIC_API, actor=None
    )
    version = _publish(tenant, product)
    start = clock.now() - dt.timedelta(days=days)
    _cost(tenant, start)
    for number in range(customers):
        _subscribe(tenant, product, version, number, start)
    return key


def _publish(tenant: Tenant, product: Product) -> PlanVersion:
    """Return a plan with a price for each measurement."""
    charges = []
    for name, price in PRICES.items():
        products.create_metric(
            tenant=tenant,
            code=name,
            name=name,
            aggregation=Metric.Aggregation.SUM,
            unit="unit",
            field=name,
            event_types=(),
            actor=None,
        )
        charges.append({"key": name, "name": name, "metric": name, "price": price})
    plan = plans.create_plan(product=product, name="Bench", code="bench", actor=None)
    draft = plans.save_draft(
        plan=plan, body={"currency": "USD", "charges": charges}, limits={}, actor=None
    )
    return plans.publish(version=draft, actor=None)


def _cost(tenant: Tenant, start: dt.datetime) -> None:
    """Let the model cost something since `start`."""
    for unit, amount in COSTS.items():
        CostRate.objects.create(
            tenant=tenant,
            provider="openai",
            model=MODEL,
            unit=unit,
            amount=Decimal(amount),
            currency="USD",
            valid_from=start,
            source=CostRate.Source.MANUAL,
        )


def _subscribe(
    tenant: Tenant,
    product: Product,
    version: PlanVersion,
    number: int,
    start: dt.datetime,
) -> None:
    """Make customer `number` with its agent and its contract."""
    customer = accounts.create_customer(
        tenant=tenant,
        name=f"Customer {number}",
        external_id=f"customer-{number}",
        actor=None,
    )
    team = accounts.create_team(customer=customer, name="Core", actor=None)
    accounts.create_agent(
        team=team,
        name="Agent",
        kind=Agent.Kind.APP,
        external_id=f"agent-{number}",
        actor=None,
    )
    subscriptions.subscribe(
        customer=customer,
        product=product,
        plan_version=version,
        start_at=start,
        actor=None,
    )
