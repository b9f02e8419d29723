"""What an outcome covers: staff see it underneath, customers' papers never name it."""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pypdf import PdfReader

from aforo.core.models import Membership, Role
from aforo.lib import clock, ids
from billing import invoicing
from billing.models import Invoice, InvoiceLine
from catalog import products
from catalog.starters import starters
from metering import pipeline, voiding
from metering.models import UsageEvent
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
OCTOBER = dt.datetime(2026, 10, 10, 9, 30, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
# What the template covers, with quantities that stand nowhere else.
COVERED = {
    "input_tokens": 18_204,
    "output_tokens": 1_731,
    "cache_read_tokens": 4_419,
    "vector_lookups": 37,
    "tool_duration_ms": 52_963,
}
PLAN: dict[str, Any] = {
    "currency": "USD",
    "charges": list(starters()["contract_reviewed"].charges),
}


@pytest.fixture
def shop(db: None) -> Iterator[Shop]:
    """A seller of reviewed contracts whose October is invoiced."""
    with clock.travel(OCTOBER + dt.timedelta(hours=1)):
        made = make_shop(body=PLAN, since=dt.datetime(2026, 9, 15, tzinfo=dt.UTC))
        Membership.objects.create(tenant=made.tenant, user=made.owner, role=Role.OWNER)
        for unit in ("input_uncached_tokens", "cache_read_tokens", "output_tokens"):
            add_cost(made.tenant, model="m", unit=unit, amount="0.00001")
        store_event(
            made, COVERED, properties={"model": "m"}, correlation_id="c-1", at=OCTOBER
        )
        store_event(
            made, {}, event_type="contract.reviewed", correlation_id="c-1", at=OCTOBER
        )
        pipeline.rate()
    for hours in (0, 2):
        with clock.travel(NOVEMBER + dt.timedelta(hours=hours)):
            invoicing.close_periods(clock.now())
    with clock.travel(NOVEMBER + dt.timedelta(hours=3)):
        yield made


def signed_in(shop: Shop) -> Client:
    """Return a browser of the seller's owner."""
    client = Client()
    client.force_login(shop.owner)
    return client


def assert_hides(text: str) -> None:
    """No covered measurement and no quantity of one is in a customer's paper."""
    assert "Contract reviewed" in text
    for name, quantity in COVERED.items():
        for told in (name, name.replace("_", " "), str(quantity), f"{quantity:,}"):
            # A short number can be a part of an id.
            pattern = rf"(?<![\w.,:-]){re.escape(told)}(?![\w.,:-])"
            assert not re.search(pattern, text, re.IGNORECASE), told


def test_papers_of_the_customer_never_name_what_is_covered(shop: Shop) -> None:
    invoice = Invoice.objects.get()
    line = InvoiceLine.objects.get()
    assert line.amount == Decimal("0.85")
    client = signed_in(shop)
    pdf = client.get(f"/invoices/{invoice.public_id}.pdf").content
    pages = PdfReader(io.BytesIO(pdf)).pages
    assert_hides("\n".join(page.extract_text() for page in pages).replace("\u200b", ""))
    address = f"/invoices/{invoice.public_id}/lines/{line.public_id}.csv"
    rows = client.get(address).content.decode()
    assert "contract.reviewed" in rows
    assert_hides(rows.replace("reviewed,", "Contract reviewed,"))
    products.show_prices(product=shop.product, public=True, actor=None)
    public = f"/prices/{shop.tenant.public_id}/{shop.product.code}"
    for path in (public, f"{public}.json"):
        answer = Client().get(path)
        assert answer.status_code == 200
        assert_hides(answer.content.decode())


def test_staff_open_a_line_and_see_meters_and_cost_underneath(shop: Shop) -> None:
    client = signed_in(shop)
    invoice, line = Invoice.objects.get(), InvoiceLine.objects.get()
    query = f"?line={line.public_id}&day=2026-10-10"
    page = client.get(f"/invoices/{invoice.public_id}{query}").content.decode()
    assert "1 contract.reviewed, 1 llm.completion" in page
    assert "19,935 tokens" in page
    assert "37 vector lookups" in page
    # (18,204 + 1,731) × $0.00001; a contract.reviewed has no rate, and that is said.
    assert 'value="0.19935' in page
    assert "1 event has no known cost" in page


def test_what_was_taken_back_is_not_underneath(shop: Shop) -> None:
    client = signed_in(shop)
    more = store_event(
        shop, {"input_tokens": 5}, correlation_id="c-1", properties={"model": "m"}
    )
    pipeline.rate()
    invoice, line = Invoice.objects.get(), InvoiceLine.objects.get()
    address = f"/invoices/{invoice.public_id}?line={line.public_id}&day=2026-10-10"
    piece = f"/events/{ids.public('evt', more.pk)}"
    assert "19,940 tokens" in client.get(address).content.decode()
    assert "19,940 tokens" in client.get(piece).content.decode()
    voiding.void(more, reason="sent by a test")
    page = client.get(address).content.decode()
    assert "1 contract.reviewed, 1 llm.completion" in page
    assert "19,935 tokens" in page
    page = client.get(piece).content.decode()
    assert "19,935 tokens" in page
    assert "outcome, without this event" in page


def test_an_event_shows_what_its_group_has_come_to(shop: Shop) -> None:
    client = signed_in(shop)
    piece = UsageEvent.objects.get(event_type="llm.completion")
    page = client.get(f"/events/{ids.public('evt', piece.pk)}").content.decode()
    assert "Matched" in page
    assert "19,935 tokens" in page
    lost = store_event(
        shop, {"input_tokens": 5}, correlation_id="c-2", properties={"model": "m"}
    )
    pipeline.rate()
    page = client.get(f"/events/{ids.public('evt', lost.pk)}").content.decode()
    assert "Not matched" in page
    assert "no contract.reviewed" in page
