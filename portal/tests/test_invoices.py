"""Invoices: by status, and from a line to its requests."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from aforo.lib import clock
from billing import invoicing
from billing.models import BillingPeriod, CustomerBooks, Invoice, InvoiceLine
from portal.tests.scene import Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db


def line_of(scene: Scene, key: str) -> InvoiceLine:
    """Return a line of the October invoice."""
    return InvoiceLine.objects.get(invoice=scene.invoice, charge_key=key)


def path_of(scene: Scene) -> str:
    """Return the address of the October invoice."""
    return f"/invoices/{scene.invoice.public_id}"


def test_the_list_has_a_tab_for_each_status_with_totals(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    page = client.get("/invoices").content.decode()
    assert scene.invoice.number is not None
    assert scene.invoice.number in page
    issued = client.get("/invoices", {"status": "finalised"}).content.decode()
    assert scene.invoice.number in issued
    void = client.get("/invoices", {"status": "void"}).content.decode()
    assert "its number stays taken" in void
    none = client.get("/invoices", {"q": "nothing"}).content.decode()
    assert "No invoice matches" in none


def test_the_csv_holds_exactly_the_filtered_invoices(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    rows = csv.DictReader(io.StringIO(client.get("/invoices.csv").content.decode()))
    assert [r["number"] for r in rows] == [
        i.number or "" for i in Invoice.objects.order_by("-id")
    ]
    empty = client.get("/invoices.csv", {"q": "nothing"}).content.decode()
    assert len(empty.splitlines()) == 1


def test_an_invoice_leads_from_line_to_day_to_request_in_three_clicks(
    scene: Scene,
) -> None:
    client = sign_in(scene, Role.VIEWER)
    line = line_of(scene, "input")
    shown = client.get(path_of(scene)).content.decode()
    first = f"?line={line.public_id}"
    assert first in shown
    opened = client.get(path_of(scene) + first).content.decode()
    assert "Sum of the ledger" in opened
    assert "first 10,000" in opened
    assert "10 Oct" in opened
    assert "day=2026-10-10" in opened
    day = client.get(path_of(scene) + first + "&day=2026-10-10").content.decode()
    event = (
        scene.events()
        .filter(event_type="llm.completion", occurred_at__month=10)
        .order_by("id")[0]
    )
    assert event.event_id[:30] in day
    assert "/events/evt_" in day


def test_every_level_sums_to_the_one_above_with_the_rounding(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    for line in InvoiceLine.objects.filter(invoice=scene.invoice):
        page = client.get(path_of(scene), {"line": line.public_id})
        (shown,) = [row for row in page.context["lines"] if row.is_open]
        assert shown.proof.holds
        assert shown.proof.amount == line.amount
        assert sum(b.amount for b in shown.buckets) == line.amount
    assert page.context["adds_up"]


def test_a_days_events_sum_to_the_day(scene: Scene) -> None:
    line = line_of(scene, "output")
    page = sign_in(scene, Role.VIEWER).get(
        path_of(scene), {"line": line.public_id, "day": "2026-10-10"}
    )
    (shown,) = [row for row in page.context["lines"] if row.is_open]
    (bucket,) = [b for b in shown.buckets if b.day == dt.date(2026, 10, 10)]
    assert sum(r.amount for r in shown.requests) == bucket.amount
    assert len(shown.requests) == bucket.entry_count
    assert all(r.cost is not None for r in shown.requests)


@pytest.mark.parametrize("day", ["x", "2026-02-30", "0000-00-00", "9999-12-31"])
def test_a_day_that_is_none_opens_nothing(scene: Scene, day: str) -> None:
    line = line_of(scene, "input")
    page = sign_in(scene, Role.VIEWER).get(
        path_of(scene), {"line": line.public_id, "day": day}
    )
    assert page.status_code == 200


def test_the_csv_of_a_line_sums_to_the_line_and_shows_no_cost(scene: Scene) -> None:
    line = line_of(scene, "input")
    answer = sign_in(scene, Role.VIEWER).get(
        f"{path_of(scene)}/lines/{line.public_id}.csv"
    )
    assert "attachment" in answer.headers["Content-Disposition"]
    text = answer.content.decode()
    assert "cost" not in text.splitlines()[0]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(Decimal(r["amount"]) for r in rows) == line.amount
    kinds = {r["entry_kind"] for r in rows}
    assert "usage" in kinds
    assert {r["currency"] for r in rows} == {"USD"}


def test_the_pdf_is_a_pdf(scene: Scene) -> None:
    answer = sign_in(scene, Role.VIEWER).get(f"{path_of(scene)}.pdf")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")


def test_the_preview_is_marked_as_an_estimate_and_adds_up(scene: Scene) -> None:
    page = sign_in(scene, Role.VIEWER).get(f"{scene.path}/upcoming")
    text = page.content.decode()
    assert "If the period closed now" in text
    assert "Estimate" in text
    assert page.context["adds_up"]
    line = next(row for row in page.context["lines"] if row.name == "Input tokens")
    opened = sign_in(scene, Role.VIEWER).get(
        f"{scene.path}/upcoming", {"line": line.key}
    )
    (shown,) = [row for row in opened.context["lines"] if row.is_open]
    assert shown.proof.holds


def test_an_invoice_of_another_tenant_is_absent(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    for suffix in ("", ".pdf", "/release"):
        assert client.get(path_of(other) + suffix).status_code == 404


def test_the_page_takes_a_fixed_number_of_statements(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    line = line_of(scene, "input")
    url = f"{path_of(scene)}?line={line.public_id}&day=2026-10-10"
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        client.get(url)
    assert len(queries) <= 22


def test_a_draft_says_so_and_a_parked_one_is_released_by_finance(scene: Scene) -> None:
    draft = _park(scene)
    path = f"/invoices/{draft.public_id}"
    viewer = sign_in(scene, Role.VIEWER).get(path).content.decode()
    assert "Held back" in viewer
    assert "Issue after review" not in viewer
    finance = sign_in(scene, Role.FINANCE)
    assert "Issue after review" in finance.get(path).content.decode()
    assert sign_in(scene, Role.VIEWER).post(f"{path}/release").status_code == 403
    done = finance.post(f"{path}/release", follow=True).content.decode()
    assert Invoice.objects.get(pk=draft.pk).state == "finalised", done


def _park(scene: Scene) -> Invoice:
    """Return the draft of November, held back by a safety bound."""
    december = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    invoicing.close_periods(december)
    CustomerBooks.objects.filter(customer=scene.customer).update(
        parked_at=december, parked_reason="It is ten times the usual."
    )
    period = BillingPeriod.objects.get(
        customer=scene.customer, start_at__month=11, end_at=december
    )
    assert period.state == BillingPeriod.State.CLOSING
    BillingPeriod.objects.filter(pk=period.pk).update(
        closing_at=clock.now() - dt.timedelta(days=1)
    )
    return Invoice.objects.get(customer=scene.customer, period=period)
