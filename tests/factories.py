"""A small shop for tests: one tenant with products, plans, customers and agents.

Made by the product's own functions, so a shop in a test is one that could exist.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aforo.core import service_keys
from aforo.core.models import ServiceKey, Tenant, User
from aforo.lib import clock, ids
from billing import accounts, credentials, subscriptions
from billing.models import Agent, Credential, Customer, Subscription, Team
from catalog import cost_rates, plans, products
from catalog.models import Metric, PlanVersion, Product, ProductType
from metering import queue
from metering.models import PendingEvents, UsageEvent

_counter = itertools.count(1)

TOKENS_PLAN: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "input",
            "name": "Input tokens",
            "metric": "input_tokens",
            "unit": "token",
            "price": {"model": "per_unit", "unit_amount": "3.00", "per": 1000000},
        },
        {
            "key": "output",
            "name": "Output tokens",
            "metric": "output_tokens",
            "unit": "token",
            "price": {
                "model": "graduated",
                "per": 1000000,
                "tiers": [
                    {"up_to": "1000000", "unit_amount": "15.00"},
                    {"up_to": None, "unit_amount": "12.00"},
                ],
            },
        },
        {
            "key": "calls",
            "name": "Tool calls",
            "metric": "tool_calls",
            "unit": "call",
            "price": {"model": "per_unit", "unit_amount": "0.01"},
        },
    ],
}
METRICS = [
    ("input_tokens", "Input tokens", "input_tokens", "token"),
    ("output_tokens", "Output tokens", "output_tokens", "token"),
    ("tool_calls", "Tool calls", "tool_calls", "call"),
]


@dataclass(slots=True)
class Shop:
    """What a test usually needs of one tenant."""

    tenant: Tenant
    owner: User
    product: Product
    version: PlanVersion
    customer: Customer
    team: Team
    agent: Agent
    subscription: Subscription
    credential: Credential
    secret: str
    service_key: ServiceKey
    service_secret: str
    extra: dict[str, Any] = field(default_factory=dict)


def make_tenant(name: str = "") -> Tenant:
    """Return a new tenant."""
    number = next(_counter)
    return Tenant.objects.create(
        name=name or f"Seller {number}",
        legal_name=f"Seller {number} Ltd",
        address="1 High Street\nLondon",
    )


def make_user(email: str = "", **extra: Any) -> User:
    """Return a new user whose password is `correct horse`."""
    return User.objects.create_user(
        email=email or f"user{next(_counter)}@example.com",
        password="correct horse",
        **extra,
    )


def make_metrics(tenant: Tenant) -> None:
    """Define the metrics that the plans of tests use."""
    for code, name, source, unit in METRICS:
        products.create_metric(
            tenant=tenant,
            code=code,
            name=name,
            aggregation=Metric.Aggregation.SUM,
            field=source,
            unit=unit,
            actor=None,
        )


def make_version(
    product: Product,
    body: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> PlanVersion:
    """Return a published version of a new plan."""
    code = f"plan-{next(_counter)}"
    plan = plans.create_plan(product=product, name=code, code=code, actor=None)
    draft = plans.save_draft(
        plan=plan, body=body or TOKENS_PLAN, limits=limits or {}, actor=None
    )
    return plans.publish(version=draft, actor=None)


def make_shop(
    *,
    body: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    since: dt.datetime | None = None,
    type: ProductType = ProductType.AGENTIC_API,
) -> Shop:
    """Return a tenant that sells one product to one customer with one agent."""
    tenant = make_tenant()
    owner = make_user()
    make_metrics(tenant)
    product = products.create_product(
        tenant=tenant,
        name="Completions",
        code=f"completions-{next(_counter)}",
        type=type,
        actor=owner,
    )
    version = make_version(product, body, limits)
    customer = accounts.create_customer(
        tenant=tenant,
        name=f"Customer {next(_counter)}",
        external_id=f"cust_{next(_counter)}",
        actor=owner,
    )
    team = accounts.create_team(customer=customer, name="Research", actor=owner)
    kind = Agent.Kind.APP if product.uses_bearer else Agent.Kind.AGENT
    agent = accounts.create_agent(team=team, name="Writer", kind=kind, actor=owner)
    subscription = subscriptions.subscribe(
        customer=customer,
        product=product,
        plan_version=version,
        start_at=since or clock.now() - dt.timedelta(days=60),
        actor=owner,
    )
    credential, secret = credentials.issue(agent=agent, products=[product], actor=owner)
    key, service_secret = service_keys.issue(
        tenant=tenant, name="gateway", scopes=["ingest", "check", "read"], actor=owner
    )
    return Shop(
        tenant, owner, product, version, customer, team, agent, subscription,
        credential, secret, key, service_secret,
    )  # fmt: skip


def add_cost(tenant: Tenant, *, model: str, unit: str, amount: str) -> None:
    """Let a unit of a model cost something since long ago."""
    cost_rates.add_rate(
        tenant=tenant,
        provider="test",
        model=model,
        unit=unit,
        amount=Decimal(amount),
        currency="USD",
        valid_from=clock.now() - dt.timedelta(days=400),
        actor=None,
    )


def store_event(
    shop: Shop,
    measurements: Mapping[str, Any],
    *,
    event_id: str = "",
    at: dt.datetime | None = None,
    event_type: str = "llm.completion",
    properties: Mapping[str, str] | None = None,
    **columns: Any,
) -> UsageEvent:
    """Store an event as the ingest door does, pending for rating."""
    body = {
        "properties": dict(properties or {}),
        "measurements": {name: str(value) for name, value in measurements.items()},
        **columns.pop("body", {}),
    }
    name = event_id or uuid.uuid4().hex
    now = clock.now()
    values = {
        "customer": shop.customer,
        "agent": shop.agent,
        "team": shop.team,
        "product": shop.product,
        "credential": shop.credential,
    } | columns
    event = UsageEvent.objects.create(
        tenant=shop.tenant,
        event_id=name,
        body_hash=hashlib.sha256(name.encode()).digest(),
        event_type=event_type,
        occurred_at=at or now,
        received_at=now,
        body=body,
        **values,
    )
    PendingEvents.objects.create(
        id=ids.new_id(),
        tenant=shop.tenant,
        shard=queue.shard_of(event.customer_id),
        customer_ids=[event.customer_id],
        event_ids=[event.id],
        received_at=now,
    )
    return event
