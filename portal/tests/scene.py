"""A seller in the middle of a month: people of every role, usage, an invoice."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.test import Client

from aforo.core.models import Membership, Role, Tenant, User
from aforo.lib import clock, ids
from billing import invoicing, wallets
from billing.models import Agent, Customer, Invoice, LedgerEntry, Subscription
from catalog import products
from catalog.models import Metric, PlanVersion, Product
from metering import pipeline
from metering.models import UsageEvent
from tests.factories import Shop, add_cost, make_shop, store_event

# A Wednesday, so that "this month" has days behind it.
NOW = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
OCTOBER = dt.datetime(2026, 10, 10, 9, 30, tzinfo=dt.UTC)
MODEL = "gpt-4o"
PLAN: dict[str, Any] = {
    "currency": "USD",
    "charges": [
        {
            "key": "platform",
            "name": "Platform fee",
            "price": {"model": "flat", "amount": "99", "due": "advance"},
        },
        {
            "key": "input",
            "name": "Input tokens",
            "metric": "input_tokens",
            "unit": "tokens",
            "price": {
                "model": "graduated",
                "per": 1000000,
                "tiers": [
                    {"up_to": "10000", "unit_amount": "3.00"},
                    {"up_to": None, "unit_amount": "2.50"},
                ],
            },
        },
        {
            "key": "output",
            "name": "Output tokens",
            "metric": "output_tokens",
            "unit": "tokens",
            "price": {"model": "per_unit", "unit_amount": "15.00", "per": 1000000},
        },
        {
            "key": "calls",
            "name": "Tool calls",
            "metric": "tool_calls",
            "unit": "calls",
            "price": {"model": "per_unit", "unit_amount": "0.01"},
        },
    ],
}
_counter = itertools.count(1)


@dataclass(slots=True)
class Scene:
    """What the tests of pages look at."""

    shop: Shop
    people: dict[str, User]
    invoice: Invoice

    @property
    def tenant(self) -> Tenant:
        """The seller."""
        return self.shop.tenant

    @property
    def customer(self) -> Customer:
        """Who pays."""
        return self.shop.customer

    @property
    def agent(self) -> Agent:
        """The customer's app."""
        return self.shop.agent

    @property
    def product(self) -> Product:
        """What is sold."""
        return self.shop.product

    @property
    def version(self) -> PlanVersion:
        """The plan version in force."""
        return self.shop.version

    @property
    def subscription(self) -> Subscription:
        """The customer's contract."""
        return self.shop.subscription

    def ledger(self) -> QuerySet[LedgerEntry]:
        """The customer's ledger."""
        return LedgerEntry.objects.filter(customer=self.customer)

    def events(self) -> QuerySet[UsageEvent]:
        """The customer's events, newest first."""
        return UsageEvent.objects.filter(customer=self.customer).order_by("-id")

    def store(self, measurements: Mapping[str, Any], **more: Any) -> UsageEvent:
        """Store an event of the customer, not rated yet."""
        return store_event(self.shop, measurements, **more)

    def define_metric(self, code: str) -> None:
        """Let a measurement be known."""
        products.create_metric(
            tenant=self.tenant,
            code=code,
            name=code,
            aggregation=Metric.Aggregation.SUM,
            field=code,
            unit="unit",
            actor=None,
        )

    @property
    def path(self) -> str:
        """The address of the customer's page."""
        return f"/customers/{self.customer.public_id}"


def make_scene() -> Scene:
    """Return a seller whose customer used things in October and November.

    Time stands still at NOW for whoever makes it (fixture `noon`).
    """
    shop = make_shop(body=PLAN, since=dt.datetime(2026, 9, 15, tzinfo=dt.UTC))
    shop.customer.address = "1 Main Street\nSpringfield"
    shop.customer.segment = "enterprise"
    shop.customer.save()
    people = _people(shop)
    for unit, amount in (
        ("input_uncached_tokens", "0.0000011"),
        ("cache_read_tokens", "0.0000004"),
        ("output_tokens", "0.0000052"),
    ):
        add_cost(shop.tenant, model=MODEL, unit=unit, amount=amount)
    add_cost(shop.tenant, model="search", unit="tool.call", amount="0.0021")
    _use(shop, OCTOBER)
    with clock.travel(dt.datetime(2026, 11, 1, tzinfo=dt.UTC)):
        pipeline.rate()
        invoicing.close_periods(clock.now())
    with clock.travel(dt.datetime(2026, 11, 1, 2, tzinfo=dt.UTC)):
        invoicing.close_periods(clock.now())
    wallets.top_up(
        customer=shop.customer, currency="USD", amount=Decimal(50), actor=shop.owner
    )
    _use(shop, NOW - dt.timedelta(hours=3))
    pipeline.rate()
    invoice = Invoice.objects.get(
        customer=shop.customer, number__isnull=False, period__start_at__month=10
    )
    return Scene(shop, people, invoice)


def _people(shop: Shop) -> dict[str, User]:
    """Return a member of every role; the owner is the shop's."""
    people = {Role.OWNER.value: shop.owner}
    Membership.objects.create(tenant=shop.tenant, user=shop.owner, role=Role.OWNER)
    for role in Role:
        if role == Role.OWNER:
            continue
        # Without a password: hashing one takes longer than the rest of the scene.
        user = User.objects.create_user(
            email=f"{role}{next(_counter)}@pages.test", password=None, name=role.label
        )
        developer = role == Role.DEVELOPER
        Membership.objects.create(
            tenant=shop.tenant,
            user=user,
            role=role,
            customer_id=shop.customer.pk if developer else None,
        )
        people[role.value] = user
    return people


def _use(shop: Shop, at: dt.datetime) -> None:
    """Store a session of model calls and tool calls, and calls outside of it."""
    second = dt.timedelta(seconds=1)
    key = f"run-{at:%m%d}"
    for step in range(6):
        store_event(
            shop,
            {
                "input_tokens": 2_400 + step,
                "cache_read_tokens": 512,
                "output_tokens": 150,
                "latency_ms": 800,
            },
            at=at + step * 10 * second,
            properties={"model": MODEL},
            session_key=key,
            correlation_id=f"work-{at:%m%d}",
            request_id=f"req-{at:%m%d}-{step}",
        )
        store_event(
            shop,
            {"tool_calls": 1, "tool_duration_ms": 420},
            at=at + (step * 10 + 5) * second,
            event_type="mcp.tool_invoked",
            tool_name="search",
            status="SUCCESS" if step else "FAILED",
            session_key=key,
            correlation_id=f"work-{at:%m%d}",
            body={"parent_id": "root"} if step else {},
        )
    store_event(
        shop,
        {"input_tokens": 900, "output_tokens": 40},
        at=at + dt.timedelta(days=2) if at < NOW - dt.timedelta(days=9) else at,
        properties={"model": "unpriced-model"},
    )


def sign_in(scene: Scene, role: str) -> Client:
    """Return a browser in which the member with a role is signed in."""
    client = Client(raise_request_exception=False)
    client.force_login(scene.people[str(role)])
    return client


def event_path(event: UsageEvent) -> str:
    """Return the address of an event's page."""
    return f"/events/{ids.public('evt', event.pk)}"
