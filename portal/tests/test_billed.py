"""Billed beside collected: rated, invoiced and paid, and why they differ."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from aforo.lib import clock
from billing import invoicing, wallets
from billing.models import BillingPeriod, CreditGrant, Invoice, LedgerEntry
from metering import pipeline
from portal.selectors import billed
from portal.tests import scene as scenes
from portal.tests.scene import Scene
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db

PAGE = "/analytics/billed"


@pytest.fixture
def owner(scene: Scene) -> Client:
    """A browser in which the owner of the scene is signed in."""
    return scenes.sign_in(scene, Role.OWNER)


def rows_of(client: Client, month: str, **more: str) -> list[billed.Row]:
    """Return the rows of a month as the page shows them."""
    answer = client.get(PAGE, {"month": month, **more})
    assert answer.status_code == 200
    rows: list[billed.Row] = answer.context["rows"]
    return rows


def ledger(row: billed.Row) -> Decimal:
    """Return what the ledger holds for a row."""
    entries = LedgerEntry.objects.filter(billing_period=row.period)
    return sum((e.amount for e in entries if e.currency == row.currency), Decimal(0))


def test_an_issued_invoice_equals_what_was_rated(scene: Scene, owner: Client) -> None:
    found = rows_of(owner, "2026-10")
    assert found
    assert {row.why for row in found if row.invoice} == {"equal to the ledger"}
    for row in found:
        assert row.sums.rated == ledger(row)
        assert owner.get(row.events_url).status_code == 200
        assert owner.get(row.bill_url).status_code == 200
        assert owner.get(row.wallet_url).status_code == 200
    (one,) = [row for row in found if row.invoice]
    assert one.sums.due == one.invoice.due  # type: ignore[union-attr]
    page = owner.get(PAGE, {"month": "2026-10"}).content.decode()
    assert "Payments of invoices are not recorded" in page
    assert str(one.invoice) in page


def test_an_open_period_is_rated_and_not_invoiced_yet(
    scene: Scene, owner: Client
) -> None:
    found = rows_of(owner, "2026-11")
    assert found
    for row in found:
        assert row.invoice is None
        assert row.sums.difference == -ledger(row)
        assert row.why == "not invoiced yet: the period is open"
        assert owner.get(row.bill_url).status_code == 200


@pytest.fixture
def shop() -> Shop:
    """A shop whose customer paid in advance and got something as a present."""
    shop = make_shop()
    for kind, amount in (("purchased", 10), ("promotional", 1)):
        wallets.grant(
            customer=shop.customer,
            currency="USD",
            amount=Decimal(amount),
            kind=CreditGrant.Kind(kind),
            title=kind,
            priority=1 if kind == "promotional" else 100,
            actor=shop.owner,
        )
    store_event(shop, {"tool_calls": 250})
    pipeline.rate()
    return shop


def test_credit_that_was_bought_is_told_from_credit_that_was_given(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    (row,) = client.get(PAGE).context["rows"]
    assert (row.sums.usage, row.sums.credit) == (Decimal("2.5"), Decimal("2.5"))
    assert (row.sums.credit_given, row.sums.credit_bought) == (1, Decimal("1.5"))
    assert row.sums.bought == 10


def test_drafts_voids_and_faults_say_why_they_differ(shop: Shop) -> None:
    *earlier, period = BillingPeriod.objects.order_by("start_at")
    for one in earlier:
        invoicing.close(one.pk, now=clock.now())
        invoicing.finalise(one.pk, now=clock.now(), without_grace=True)
    invoicing.close(period.pk, now=period.end_at)
    client = sign_in(shop, Role.VIEWER)
    month = f"{period.start_at + dt.timedelta(days=1):%Y-%m}"
    (row,) = rows_of(client, month)
    assert row.why.startswith("draft: ")
    invoicing.finalise(period.pk, now=period.end_at, without_grace=True)
    (row,) = rows_of(client, month)
    assert row.why == "equal to the ledger"
    assert row.sums.difference == 0
    assert not row.is_fault
    Invoice.objects.update(state=Invoice.State.VOID)
    (row,) = rows_of(client, month)
    assert row.why == "the invoice is void"
    assert row.sums.invoiced == row.sums.due == 0


def test_an_invoice_that_differs_is_called_a_fault() -> None:
    invoice = Invoice(state=Invoice.State.FINALISED)
    sums = billed.Sums(usage=Decimal(2), invoiced=Decimal(3))
    row = billed.Row(None, BillingPeriod(state="finalised"), "USD", sums, invoice)  # type: ignore[arg-type]
    assert row.is_fault
    assert row.why == "differs from the ledger"


def test_the_csv_has_the_rows_and_the_search_narrows_both(shop: Shop) -> None:
    client = sign_in(shop, Role.OPERATIONS)
    lines = client.get(f"{PAGE}.csv").content.decode().splitlines()
    assert len(lines) == 2
    cells = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert (cells["rated"], cells["invoiced"], cells["difference"]) == (
        "2.5",
        "0",
        "-2.5",
    )
    assert cells["paid_bought_credit"] == "1.5"
    assert len(client.get(f"{PAGE}.csv?q=nobody").content.decode().splitlines()) == 1
    page = client.get(PAGE, {"q": "nobody"}).content.decode()
    assert "No customer matches" in page


@pytest.mark.parametrize("month", ["2026-13", "x", "\0", "2999-01"])
def test_a_wrong_month_is_said_and_this_one_shown(shop: Shop, month: str) -> None:
    page = sign_in(shop, Role.VIEWER).get(PAGE, {"month": month})
    assert page.status_code == 200
    assert "is no month that has begun" in page.content.decode()


def test_nobody_sees_what_another_seller_bills(shop: Shop) -> None:
    other = sign_in(make_shop(), Role.OWNER)
    page = other.get(PAGE)
    assert shop.customer.name not in page.content.decode()
    assert "Nothing was rated in this month" in page.content.decode()
    assert Client().get(PAGE).status_code == 302


def test_the_page_takes_the_same_statements_for_any_number_of_customers(
    scene: Scene, owner: Client, django_assert_max_num_queries: Any
) -> None:
    owner.get(PAGE)
    with django_assert_max_num_queries(20):
        owner.get(PAGE, {"month": "2026-11"})


def test_the_sellers_own_currency_comes_first() -> None:
    sums = {code: billed.Sums() for code in ("CHF", "EUR", "USD")}
    found = billed.main_first(sums, "USD")
    assert [code for code, _ in found] == ["USD", "CHF", "EUR"]
