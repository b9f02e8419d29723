"""People and usage for billing's tests, made by the product's own functions."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aforo.core.models import Tenant, User
from aforo.lib import clock, ids
from aforo.lib.money import ZERO
from billing import (
    accounts,
    books,
    contracts,
    invariants,
    invoicing,
    rating,
    subscriptions,
    wallets,
)
from billing.ledger import Entry
from billing.models import Agent, Customer, Invoice, Subscription, Team
from billing.rating import Fact, TotalKey
from catalog import plans, products
from catalog.models import Metric, PlanVersion, Product, ProductType
from catalog.pricing import UsageEvent
from tests.factories import make_tenant, make_user

_counter = itertools.count(1)
OCTOBER = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
DECEMBER = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)

# A fixed fee, graduated tokens, an allowance and a percentage with a minimum.
GROWTH: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "platform",
            "name": "Platform fee",
            "price": {"model": "flat", "amount": "200", "due": "advance"},
        },
        {
            "key": "tokens",
            "name": "Tokens",
            "unit": "tokens",
            "metric": "tokens",
            "price": {
                "model": "graduated",
                "per": 1000000,
                "tiers": [
                    {"up_to": "10000000", "unit_amount": "3.00"},
                    {"up_to": "60000000", "unit_amount": "2.50"},
                    {"up_to": None, "unit_amount": "2.00"},
                ],
            },
        },
        {
            "key": "lookups",
            "name": "Vector look-ups",
            "unit": "look-ups",
            "metric": "lookups",
            "price": {
                "model": "included",
                "units": "1000000",
                "overage": {"model": "per_unit", "unit_amount": "5.00", "per": 1000000},
            },
        },
        {
            "key": "priority",
            "name": "Priority handling",
            "metric": "inference_cost",
            "filter": {"requestType": "priority"},
            "price": {"model": "percentage", "rate": "2.5", "minimum": "0.50"},
        },
    ],
}


def per_call(amount: str = "0.01", currency: str = "USD") -> dict[str, Any]:
    """Return a plan with one price for every call."""
    return {
        "currency": currency,
        "charges": [
            {
                "key": "calls",
                "name": "Calls",
                "unit": "calls",
                "metric": "calls",
                "price": {"model": "per_unit", "unit_amount": amount},
            }
        ],
    }


def with_fee(amount: str, due: str = "advance", **rest: Any) -> dict[str, Any]:
    """Return the plan of `per_call` with a fixed amount a month before it."""
    body = per_call(**rest)
    fee = {
        "key": "fee",
        "name": "Monthly fee",
        "price": {"model": "flat", "amount": amount, "due": due},
    }
    return {**body, "charges": [fee, *body["charges"]]}


def close_month(end: dt.datetime = NOVEMBER) -> list[Invoice]:
    """Close what has ended, let the grace pass and return the invoices in order."""
    with clock.travel(end):
        invoicing.close_periods(end)
    with clock.travel(end + HOUR):
        invoicing.close_periods(end + HOUR)
    return list(Invoice.objects.filter(period__end_at=end).order_by("number"))


def breaks() -> list[str]:
    """Return everything that the laws of the books find wrong."""
    checks = (
        invariants.lines_equal_ledger,
        invariants.invoices_add_up,
        invariants.entries_add_up,
        invariants.chains_hold,
        invariants.totals_equal_ledger,
    )
    return [text for check in checks for text in check()]


@dataclass(slots=True)
class Cast:
    """A tenant with what it sells and somebody who pays."""

    tenant: Tenant
    owner: User
    product: Product
    customer: Customer
    team: Team
    agent: Agent


def make_cast(
    *,
    type: ProductType = ProductType.AGENTIC_API,
    timezone: str = "UTC",
    tenant: Tenant | None = None,
) -> Cast:
    """Return a tenant with a product, metrics and a customer with one agent."""
    if tenant is None:
        tenant = make_tenant()
        _metrics(tenant)
    owner = make_user()
    number = next(_counter)
    product = products.create_product(
        tenant=tenant,
        name="Assistant",
        code=f"assistant-{number}",
        type=type,
        actor=owner,
    )
    customer = accounts.create_customer(
        tenant=tenant, name=f"Acme {number}", timezone=timezone, actor=owner
    )
    team = accounts.create_team(customer=customer, name="Research", actor=owner)
    kind = Agent.Kind.APP if product.uses_bearer else Agent.Kind.AGENT
    agent = accounts.create_agent(team=team, name="Writer", kind=kind, actor=owner)
    return Cast(tenant, owner, product, customer, team, agent)


def _metrics(tenant: Tenant) -> None:
    """Define what the plans of this module count."""
    for code in ("tokens", "lookups", "inference_cost"):
        products.create_metric(
            tenant=tenant,
            code=code,
            name=code.title(),
            aggregation=Metric.Aggregation.SUM,
            field=code,
            unit="unit",
            actor=None,
        )
    products.create_metric(
        tenant=tenant,
        code="calls",
        name="Calls",
        aggregation=Metric.Aggregation.COUNT,
        unit="call",
        actor=None,
    )


def make_version(
    cast: Cast, body: Mapping[str, Any], *, prorate: bool = False
) -> PlanVersion:
    """Return a published version of a new plan of the cast's product."""
    code = f"plan-{next(_counter)}"
    plan = plans.create_plan(
        product=cast.product, name=code.title(), code=code, actor=cast.owner
    )
    draft = plans.save_draft(
        plan=plan, body=body, limits={}, prorate=prorate, actor=cast.owner
    )
    return plans.publish(version=draft, actor=cast.owner)


def subscribe(
    cast: Cast,
    body: Mapping[str, Any],
    *,
    at: dt.datetime = OCTOBER,
    prorate: bool = False,
) -> Subscription:
    """Subscribe the cast's customer to a new plan, at the time when that starts."""
    with clock.travel(at):
        return subscriptions.subscribe(
            customer=cast.customer,
            product=cast.product,
            plan_version=make_version(cast, body, prorate=prorate),
            start_at=at,
            actor=cast.owner,
        )


def event(
    at: dt.datetime, *, properties: Mapping[str, str] | None = None, **counts: str
) -> UsageEvent:
    """Return an event with measurements, given as texts."""
    number = next(_counter)
    return UsageEvent(
        event_id=f"event-{number:06}",
        occurred_at=at,
        event_type="call",
        properties=dict(properties or {}),
        measurements={name: Decimal(count) for name, count in counts.items()},
        cost=None,
    )


def use(
    cast: Cast, events: Iterable[UsageEvent], *, now: dt.datetime | None = None
) -> None:
    """Rate events into the customer's books and wallet, as a batch of usage is."""
    with books.transaction(cast.customer.pk) as posting:
        account = contracts.load([(cast.customer.pk, cast.tenant.pk)])[cast.customer.pk]
        groups: dict[TotalKey, list[Fact]] = {}
        for one in events:
            found = account.contract(
                product_id=cast.product.pk, agent_id=cast.agent.pk, at=one.occurred_at
            )
            assert not isinstance(found, str), found
            contract, snapshot = found
            period = account.period_at(one.occurred_at)
            fact = Fact(
                id=ids.new_id(),
                usage=one,
                subscription_id=contract.id,
                snapshot=snapshot,
                usage_period=period,
                billing_period=account.billing_period(period, now or one.occurred_at),
                tokens=0,
                agent_id=cast.agent.pk,
                team_id=cast.team.pk,
                session_id=None,
                tool_name="",
            )
            key = TotalKey(contract.id, snapshot.id, period.id)
            groups.setdefault(key, []).append(fact)
        totals = rating.load_totals([cast.customer.pk], groups)
        for key, facts in groups.items():
            plan = facts[0].snapshot.plan
            assert plan is not None
            total = totals.setdefault(
                key,
                rating.new_total(
                    tenant_id=cast.tenant.pk,
                    customer_id=cast.customer.pk,
                    key=key,
                    currency=plan.currency,
                ),
            )
            outcomes = rating.rate_group(total, facts)
            entries = [e for e in outcomes if isinstance(e, Entry)]
            posting.append(*entries)
            wallets.burn(
                posting=posting,
                currency=plan.currency,
                amount=sum((e.amount for e in entries), ZERO),
                title="Usage",
                billing_period_id=facts[0].billing_period.id,
            )
        rating.save_totals(totals.values())
