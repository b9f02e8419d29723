"""Invoices: by status, and one taken apart from line to request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import django_filters
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods

from aforo.core.roles import MONEY, role_required, staff_required
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO, plain
from billing import invoicing, pdf
from billing.bill import Bill
from billing.models import BillingPeriod, Customer, Invoice, InvoiceLine
from billing.preview import preview
from catalog.pricing.words import money_words
from portal import csvs, paging
from portal.filters import OfCustomers, empty_model, text_box
from portal.pages import admin_url, days_of, find, may, parse_day, person
from portal.selectors import invoices
from portal.selectors.invoices import Bucket, Proof, Request, Slice
from portal.selectors.meters import unit_of
from portal.selectors.underneath import Underneath, underneath
from portal.views.actions import Deed, ask

STATES = (
    ("", "All"),
    (Invoice.State.DRAFT, "Draft"),
    (Invoice.State.FINALISED, "Issued"),
    (Invoice.State.VOID, "Void"),
)
# What each status means, for lists that are empty.
MEANINGS = {
    "": "An invoice is drafted when a billing period ends and issued an hour later.",
    "draft": "A draft is a period that has ended and still takes usage under way.",
    "finalised": "An issued invoice has its number and never changes again.",
    "void": "A void invoice was issued by mistake; its number stays taken.",
}


class InvoiceFilter(OfCustomers):
    """Filters of the invoices; the status is a tab."""

    q = django_filters.CharFilter(
        label="Search", method="filter_text", widget=text_box("Number or customer")
    )
    issued_after = django_filters.DateFilter(
        field_name="issued_at", lookup_expr="date__gte", label="Issued from"
    )
    Meta = empty_model(Invoice)

    def filter_text(
        self, rows: QuerySet[Invoice], name: str, value: str
    ) -> QuerySet[Invoice]:
        """Keep invoices with the text in their number or customer."""
        return invoices.matching(rows, value)


def _filtered(request: HttpRequest) -> tuple[InvoiceFilter, str]:
    """Return the filtered invoices of every status, and the status of the tab."""
    rows = Invoice.objects.select_related("customer", "period")
    status = request.GET.get("status", "")
    if status not in dict(STATES):
        status = ""
    return InvoiceFilter(request.GET, queryset=rows, request=request), status


@staff_required
@require_GET
def table(request: HttpRequest) -> HttpResponse:
    """Show the invoices of a status, with every status's total."""
    found, status = _filtered(request)
    sums = invoices.totals(found.qs)
    rows = found.qs.filter(state=status) if status else found.qs
    query = request.GET.copy()
    for name in ("after", "before"):
        query.pop(name, None)
    tabs = []
    for key, label in STATES:
        query["status"] = key
        count = sums[key].count if key in sums else sum(s.count for s in sums.values())
        tabs.append(
            {
                "label": label,
                "url": f"?{query.urlencode()}",
                "current": key == status,
                "count": count if key in sums or not key else 0,
            }
        )
    context = {
        "filter": found,
        "status": status,
        "tabs": tabs,
        "sums": [sums[k] for k, _ in STATES if k in sums],
        "page": paging.page(rows, order="-id", query=request.GET),
        "meaning": MEANINGS[status],
    }
    return render(request, "portal/invoices.html", context)


LIST_HEAD = (
    "number customer customer_id state period_start_utc period_end_utc currency"
    " subtotal tax total credits_applied due issued_utc due_on"
).split()


@staff_required
@require_GET
def table_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the filtered invoices as CSV."""
    found, status = _filtered(request)
    rows = found.qs.filter(state=status) if status else found.qs
    return csvs.response(
        "invoices.csv",
        LIST_HEAD,
        (
            (
                row.number,
                row.customer.name,
                row.customer.public_id,
                row.state,
                row.period.start_at,
                row.period.end_at,
                row.currency,
                row.subtotal,
                row.tax,
                row.total,
                row.credits_applied,
                row.due,
                row.issued_at,
                row.due_on,
            )
            for row in rows.order_by("-id")[: csvs.ROWS_MAX + 1].iterator(2000)
        ),
    )


@dataclass(slots=True)
class Line:
    """One line of an invoice or preview, as the page shows it."""

    key: str  # What ?line= says.
    name: str
    quantity: Decimal
    unit: str
    amount: Decimal
    exact_amount: Decimal
    steps: Sequence[dict[str, str]]
    part: Slice
    is_open: bool = False
    buckets: list[Bucket] = field(default_factory=list)
    proof: Proof | None = None
    day: dt.date | None = None
    page: Any = None
    requests: list[Request] = field(default_factory=list)
    days: list[dict[str, object]] = field(default_factory=list)  # For the chart.
    finding: str = ""
    below: Underneath | None = None  # Of a recipe's line: its meters and our cost.

    @property
    def step_rows(self) -> list[dict[str, str]]:
        """The steps in words, each with its amount."""
        currency = self.part.currency
        return [
            {
                "label": step["label"],
                "amount": money_words(Decimal(step["amount"]), currency),
            }
            for step in self.steps
        ]

    @property
    def proof_shown(self) -> str:
        """The ledger's sum to the last digit."""
        assert self.proof is not None
        return money_words(self.proof.amount, self.part.currency)

    @property
    def single_price(self) -> str:
        """The price of a unit, where one step makes the whole line."""
        step = self.steps[0] if len(self.steps) == 1 else {}
        return step.get("label", "").rpartition("× ")[2]


def _lines(invoice: Invoice) -> list[Line]:
    """Return the lines of a stored invoice."""
    rows = InvoiceLine.objects.filter(invoice=invoice).order_by("position")
    return [
        Line(
            row.public_id,
            row.name,
            row.quantity,
            unit_of(row.quantity, row.unit),
            row.amount,
            row.exact_amount,
            row.steps,
            Slice(
                invoice.customer_id,
                invoice.currency,
                invoice.period_id,
                row.subscription_id,
                row.charge_key,
                row.usage_period_id,
            ),
        )
        for row in rows
    ]


def _preview_lines(bill: Bill) -> list[Line]:
    """Return the lines of an invoice that is not written."""
    return [
        Line(
            f"{ids.public('sub', line.subscription_id)}.{line.charge_key}"
            + (f".{line.usage_period_id.hex}" if line.usage_period_id else ""),
            line.name,
            line.quantity,
            unit_of(line.quantity, line.unit),
            line.amount,
            line.exact_amount,
            line.steps,
            Slice(
                bill.customer.pk,
                bill.currency,
                bill.period.pk,
                line.subscription_id,
                line.charge_key,
                line.usage_period_id,
            ),
        )
        for line in bill.lines
    ]


def _open(request: HttpRequest, lines: Sequence[Line], *, issued: bool) -> None:
    """Fill in the line and the day that the address names."""
    wanted = request.GET.get("line", "")
    for line in lines:
        if line.key != wanted:
            continue
        line.is_open = True
        line.buckets = invoices.buckets(line.part)
        expected = line.amount if issued else line.exact_amount
        line.proof = invoices.proof(line.buckets, expected)
        line.below = underneath(
            line.part, line.buckets, unit=line.unit, amount=line.exact_amount
        )
        by_day = {b.day: b.amount for b in line.buckets if b.day}
        if len(by_day) > 1:
            line.days, line.finding = days_of(by_day, line.part.currency)
        line.day = parse_day(request.GET.get("day", ""))
        if line.day is not None:
            rows = invoices.of_day(line.part, line.day)
            line.page = paging.page(rows, order="occurred_at", query=request.GET)
            line.requests = invoices.requests(line.part, line.page.rows)


@staff_required
@require_GET
def invoice(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show an invoice; ?line= opens a line, ?day= the events of one of its days."""
    rows = Invoice.objects.select_related("customer__books", "period")
    found = find(rows, "inv", public_id)
    lines = _lines(found)
    issued = found.state != Invoice.State.DRAFT
    _open(request, lines, issued=issued)
    context = {
        "invoice": found,
        "title": found.number or "Draft invoice",
        **_sums(found),
        "admin_url": admin_url(found),
        "customer": found.customer,
        "period": found.period,
        "currency": found.currency,
        "lines": lines,
        "is_preview": False,
        "is_issued": issued,
        "adds_up": sum((line.amount for line in lines), ZERO) == found.subtotal,
        "may_release": not issued
        and found.customer.books.parked_at is not None
        and may(request, MONEY),
    }
    return render(request, "portal/invoice.html", context)


def _sums(found: Invoice | Bill) -> dict[str, Any]:
    """Return how the foot of an invoice is written."""
    return {
        "tax_rate": plain(found.tax_rate),
        "credits_negative": -found.credits_applied,
    }


@staff_required
@require_GET
def upcoming(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show the invoice of the open period as if it closed now."""
    customer = find(
        Customer.objects.select_related("tenant", "books"), "cus", public_id
    )
    currency = request.GET.get("currency", customer.currency)
    now = clock.now()
    bill = preview(customer=customer, currency=currency, now=now)
    lines = _preview_lines(bill) if bill else []
    _open(request, lines, issued=False)
    context = {
        "invoice": bill,
        "title": "Invoice preview",
        **(_sums(bill) if bill else {}),
        "customer": customer,
        "period": bill.period if bill else None,
        "currency": currency,
        "lines": lines,
        "is_preview": True,
        "is_issued": False,
        "now": now,
        "adds_up": bill is not None
        and sum((line.amount for line in lines), ZERO) == bill.subtotal,
    }
    return render(request, "portal/invoice.html", context)


@staff_required
@require_GET
def document(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give the invoice as PDF."""
    found = find(Invoice.objects.select_related("customer", "period"), "inv", public_id)
    answer = HttpResponse(pdf.render(found), content_type="application/pdf")
    name = f"{found.number or 'draft'}.pdf"
    answer["Content-Disposition"] = f'inline; filename="{name}"'
    return answer


@staff_required
@require_GET
def line_csv(request: HttpRequest, public_id: str, line_id: str) -> HttpResponse:
    """Give every event behind a line as CSV; the rows sum to the line."""
    found = find(Invoice.objects.all(), "inv", public_id)
    line = next((row for row in _lines(found) if row.key == line_id), None)
    if line is None:
        raise Http404(f"The invoice has no line {line_id}.")
    name = f"{found.number or 'draft'}-{slugify(line.name)}.csv"
    rows = invoices.csv_rows(line.part, csvs.ROWS_MAX + 1)
    return csvs.response(name, invoices.CSV_HEAD, rows)


@role_required(*MONEY)
@require_http_methods(["GET", "POST"])
def release(request: HttpRequest, public_id: str) -> HttpResponse:
    """Issue an invoice that a safety bound held back, after a look at it."""
    found = find(
        Invoice.objects.select_related("customer__books", "period"), "inv", public_id
    )
    books = found.customer.books
    back = reverse("invoice", args=[found.public_id])
    if found.state != Invoice.State.DRAFT or books.parked_at is None:
        messages.info(request, "Nothing is held back here.")
        return redirect(back)

    def act() -> str:
        invoicing.release(
            period=found.period, reviewed_by=person(request), now=clock.now()
        )
        period = BillingPeriod.objects.get(pk=found.period_id)
        if period.state != BillingPeriod.State.FINALISED:
            raise AforoError(
                "not_ready", 409, "Its usage is not complete yet; try again later."
            )
        return f"The invoice of {found.customer} is issued."

    deed = Deed(
        title=f"Issue the invoice of {found.customer}?",
        text=[
            f"It was held back: {books.parked_reason}",
            "Once issued it has its number and never changes.",
        ],
        button="Issue invoice",
        back=back,
        crumbs=[("Invoices", "/invoices"), (str(found), back)],
    )
    return ask(request, deed, None, act)
