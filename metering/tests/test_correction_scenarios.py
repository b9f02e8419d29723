"""Corrections where several rules meet: commitments with levels, another customer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock, ids
from billing import accounts, preview, subscriptions
from billing.models import Agent, Customer, Invoice, LedgerEntry, UsageTotal
from billing.tests.cast import DAY, NOVEMBER, OCTOBER, close_month
from metering import pipeline, voiding
from metering.background import background
from metering.models import CostFact, EventVoid, UsageEvent, UsageRollup
from metering.pool import close
from metering.tests.test_correction_api import (
    assert_clean,
    path_of,
    post,
    shop_with_key,
)
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
TOOL = "mcp.tool_invoked"
# Three calls are paid in advance; tokens cost half once $50 were spent.
COMMITTED: dict[str, Any] = {
    "currency": "USD",
    "levels": [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "50"},
    ],
    "charges": [
        {
            "key": "calls",
            "name": "Calls",
            "price": {
                "model": "dimensions",
                "tool_invocations": {"*": "10"},
                "billing_mode": "COMMITTED",
                "committed_amount": 3,
                "committed_price": "24",
            },
        },
        *(
            {
                "key": key,
                "name": key.title(),
                "metric": "input_tokens",
                "price": {"model": "per_unit", "unit_amount": amount},
                "filter": {"spend_level": [key]},
            }
            for key, amount in (("free", "1"), ("scale", "0.5"))
        ),
    ],
}


def tokens(shop: Shop, count: int) -> UsageEvent:
    """Use tokens, rated at once."""
    event = store_event(shop, {"input_tokens": count}, event_id=f"t-{count}")
    pipeline.rate()
    return event


def a_call(shop: Shop, name: str) -> UsageEvent:
    """Call a tool, rated at once."""
    event = store_event(
        shop, {}, event_id=name, event_type=TOOL, tool_name="read", status="SUCCESS"
    )
    pipeline.rate()
    return event


def month(shop: Shop, extra: str = "") -> UsageEvent | None:
    """Use what is needed to go beyond level and commitment; one event more for some."""
    first = a_call(shop, "covered") if extra == "covered" else None
    tokens(shop, 60)  # $60: Scale is reached.
    tokens(shop, 8)  # $4 at half the price.
    for name in ("c1", "c2", "c3", "c4"):
        a_call(shop, name)  # The fourth goes beyond: $10.
    if extra == "beyond":
        return a_call(shop, "c5")
    return tokens(shop, 7) if extra == "tokens" else first


def told(shop: Shop) -> dict[str, Any]:
    """Return all that the books say of a shop's month."""
    total = UsageTotal.objects.get(subscription=shop.subscription)
    bill = preview.preview(customer=shop.customer, currency="USD")
    assert bill is not None
    names = ("spend", "recurring", "event_count", "token_count", "state", "cost")
    rows = UsageRollup.objects.filter(customer=shop.customer, event_count__gt=0)
    return {
        **{name: getattr(total, name) for name in names},
        "lines": {line.charge_key: (line.quantity, line.amount) for line in bill.lines},
        "hours": sum(r.revenue for r in rows),
        "rated": sum(r.rated_count for r in rows),
    }


@pytest.fixture
def october() -> Iterator[None]:
    """It is some days into October."""
    with clock.travel(OCTOBER + 5 * DAY):
        yield


@pytest.mark.parametrize(
    ("extra", "amount"), [("covered", -10), ("beyond", -10), ("tokens", "-3.5")]
)
def test_a_void_under_a_commitment_and_levels_is_as_if_it_never_was(
    october: None, extra: str, amount: str | int
) -> None:
    without = make_shop(body=COMMITTED, since=OCTOBER)
    month(without)
    expected = told(without)
    # Of the $98: $24 in advance, $60 and $4 of tokens, $10 for the fourth call.
    assert (expected["spend"], expected["recurring"]) == (74, 24)
    shop = make_shop(body=COMMITTED, since=OCTOBER)
    event = month(shop, extra)
    assert event is not None
    assert told(shop) != expected
    done = voiding.void(event, reason="sent twice", actor=shop.owner)
    assert done.void.amount == Decimal(amount)
    assert told(shop) == expected
    assert_clean()
    # And so are the invoices.
    with clock.travel(NOVEMBER):
        close_month()
    bills = Invoice.objects.filter(period__end_at=NOVEMBER)
    assert sorted(bills.values_list("total", flat=True)) == [98, 98]
    assert_clean()


def test_a_void_below_a_level_leaves_the_level_of_other_events(october: None) -> None:
    shop = make_shop(body=COMMITTED, since=OCTOBER)
    month(shop)
    first = UsageEvent.objects.get(event_id="t-60")
    voiding.void(first, reason="sent twice", actor=shop.owner)
    # $4 at the price of Scale, written on the entry, and $10.
    assert told(shop)["spend"] == 14
    levels = LedgerEntry.objects.filter(kind="usage", event_type="llm.completion")
    assert list(levels.order_by("id").values_list("spend_level", flat=True)) == [
        "free",
        "scale",
    ]
    # What comes now is priced where the month's spend stands.
    tokens(shop, 5)
    assert told(shop)["spend"] == 19
    assert_clean()


class TestAnotherCustomer:
    """An amendment that names another customer moves the books of both."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture(autouse=True)
    def _closed(self) -> Iterator[None]:
        """Close the ingest loop's connections, so that the tables can be emptied."""
        yield
        background.run(close())

    def other(self, shop: Shop) -> Customer:
        """Return another customer of the seller, on the same plan."""
        found = accounts.create_customer(
            tenant=shop.tenant, name="Other", external_id="cust_other", actor=None
        )
        team = accounts.create_team(customer=found, name="Ops", actor=None)
        accounts.create_agent(team=team, name="Bot", kind=Agent.Kind.APP, actor=None)
        subscriptions.subscribe(
            customer=found,
            product=shop.product,
            plan_version=shop.version,
            start_at=clock.now() - 60 * DAY,
            actor=None,
        )
        return found

    def body(self, customer: str, **more: Any) -> dict[str, Any]:
        """Return a correction that names a customer."""
        return {
            "eventType": "llm.completion",
            "customerId": customer,
            "productId": more.pop("product", ""),
            "correlationId": "c",
            "measurements": [{"metricKey": "tool_calls", "value": 3}],
        } | more

    def test_both_books_move_at_once(self) -> None:
        shop, secret = shop_with_key()
        other = self.other(shop)
        event = store_event(shop, {"tool_calls": 3}, event_id="call-7")
        pipeline.rate()
        body = self.body("cust_other", product=shop.product.code)
        asked = {"reason": "the other's call", "event": body}
        reply = post(path_of(event, "amend"), secret, asked)
        assert reply.status_code == 200, reply.content
        assert reply.json()["event"]["event_id"] == "call-7~2"
        spent = UsageTotal.objects.values_list("customer", "spend", "event_count")
        assert set(spent) == {
            (shop.customer.pk, 0, 0),
            (other.pk, Decimal("0.03"), 1),
        }
        void = EventVoid.objects.get()
        assert void.replaced_by is not None
        assert void.replaced_by.customer == other
        assert_clean()

    @pytest.mark.parametrize(
        ("customer", "agent", "field"),
        [("cust_nobody", "", "customerId"), ("cust_other", "own", "agentId")],
    )
    def test_who_is_not_there_or_not_theirs_is_refused_by_name(
        self, customer: str, agent: str, field: str
    ) -> None:
        shop, secret = shop_with_key()
        self.other(shop)
        event = store_event(shop, {"tool_calls": 3}, event_id="call-7")
        pipeline.rate()
        named = {"agentId": ids.public("agt", shop.agent.pk)} if agent else {}
        body = self.body(customer, product=shop.product.code, **named)
        reply = post(path_of(event, "amend"), secret, {"reason": "x", "event": body})
        assert (reply.status_code, reply.json().get("field")) == (404, field)
        assert not EventVoid.objects.exists()
        total = UsageTotal.objects.get(customer=shop.customer)
        assert (total.spend, total.event_count) == (Decimal("0.03"), 1)
        assert_clean()


def test_a_batch_call_without_a_batch_rate_has_no_known_cost() -> None:
    shop = make_shop()
    model = "gpt-4o"
    add_cost(shop.tenant, model=model, unit="input_uncached_tokens", amount="0.000002")
    for kind in ("batch", "standard", "priority-lane"):
        store_event(
            shop,
            {"input_tokens": 1_000},
            event_id=kind,
            properties={"model": model, "requestType": kind},
        )
    pipeline.rate()
    facts = {f.event.event_id: f for f in CostFact.objects.select_related("event")}
    assert facts["batch"].amount is None
    assert (
        facts["batch"].unknown == f"no rate for {model} input_uncached_tokens (batch)"
    )
    # Only what says that it is a batch is one; the price to the customer is the same.
    assert facts["standard"].amount == facts["priority-lane"].amount
    assert facts["standard"].amount == Decimal("0.002")
    prices = LedgerEntry.objects.filter(kind="usage").values_list("amount", flat=True)
    assert set(prices) == {Decimal("0.003")}
    row = UsageRollup.objects.get()
    assert (row.cost_unknown_count, row.rated_count, row.cost) == (
        1,
        3,
        Decimal("0.004"),
    )
    assert_clean()
