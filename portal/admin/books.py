"""Books, periods and invoices: read-only, with the deeds that may be done on them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse

from aforo.core.roles import MONEY, STAFF
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from billing import invoicing, pdf
from billing.models import (
    BillingPeriod,
    CustomerBooks,
    GroupTotal,
    Invoice,
    InvoiceCounter,
    InvoiceLine,
    LedgerBasis,
    LedgerBatch,
    LedgerEntry,
    SubscriptionSnapshot,
    UsageTotal,
)
from portal.admin.accounts import customer_page
from portal.admin.base import ReadOnlyAdmin, confirmed, leading
from portal.admin.catalog import Rows
from portal.admin.site import site
from portal.pages import person


def invoice_page(row: Invoice) -> str:
    """Return an invoice's page in the console."""
    return reverse("invoice", args=[row.public_id])


class InvoiceRows(Rows):
    """The invoices of a period."""

    model = Invoice
    fields = ("currency", "state", "subtotal", "tax", "total", "due")


class LineRows(Rows):
    """The lines of an invoice."""

    model = InvoiceLine
    fields = ("position", "quantity", "unit", "exact_amount", "amount")


@admin.register(CustomerBooks, site=site)
class BooksAdmin(ReadOnlyAdmin):
    """The row that every transaction on a customer's money locks first."""

    list_display = (
        "customer",
        "version",
        "projected_version",
        "config_version",
        "projected_config_version",
        "changed_at",
        "parked_at",
    )
    list_filter = ("parked_at",)
    search_fields = ("customer__name", "parked_reason")
    list_select_related = ("customer",)
    view_on_site = staticmethod(lambda row: customer_page(row.customer))
    actions = (
        confirmed(
            "Issue after review",
            MONEY,
            lambda request, row: _release(request, row),
            warning="Invoices that a safety bound held back are issued now. Look at"
            " their drafts first.",
        ),
    )


def _release(request: HttpRequest, row: CustomerBooks) -> None:
    """Issue the oldest closing period of parked books."""
    period = BillingPeriod.objects.filter(
        customer=row.customer_id, state=BillingPeriod.State.CLOSING
    ).order_by("start_at")
    found = period.first()
    if found is None:
        raise AforoError("nothing_to_issue", 409, "No period waits to be issued.")
    invoicing.release(period=found, reviewed_by=person(request), now=clock.now())


@admin.register(LedgerBasis, site=site)
class LedgerBasisAdmin(ReadOnlyAdmin):
    """Charges and steps that the ledger entries of many events have in common."""

    list_display = ("created_at", "__str__")
    search_fields = ("charge_keys__icontains",)
    date_hierarchy = "created_at"


@admin.register(LedgerEntry, site=site)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """What is owed, event by event and rule by rule."""

    list_display = (
        "recorded_at",
        "customer",
        "kind",
        "amount",
        "currency",
        "event_type",
        "version",
    )
    list_filter = ("kind", "currency")
    search_fields = ("event_type", "tool_name")
    list_select_related = ("customer",)
    date_hierarchy = "recorded_at"
    ordering = ("-id",)

    def view_on_site(self, obj: Any) -> str:
        """Return the page of the event, or of the customer."""
        if obj.event_id is None:
            return customer_page(obj.customer)
        return reverse("event", args=[ids.public("evt", obj.event_id)])


@admin.register(LedgerBatch, site=site)
class LedgerBatchAdmin(ReadOnlyAdmin):
    """The chain of digests that proves the ledger."""

    list_display = ("customer", "version", "entry_count", "digest", "created_at")
    search_fields = ("customer__name", "digest")
    list_select_related = ("customer",)
    date_hierarchy = "created_at"
    ordering = ("-id",)
    view_on_site = False


@admin.register(UsageTotal, site=site)
class UsageTotalAdmin(ReadOnlyAdmin):
    """Where subscriptions stand in a period."""

    list_display = (
        "customer",
        "subscription",
        "period",
        "spend",
        "recurring",
        "cost",
        "event_count",
    )
    list_filter = ("currency",)
    search_fields = ("customer__name",)
    list_select_related = ("customer", "subscription__product", "period")
    view_on_site = False


@admin.register(GroupTotal, site=site)
class GroupTotalAdmin(ReadOnlyAdmin):
    """What single sessions and correlations used of a charge."""

    list_display = ("customer", "charge_key", "group_id", "settled_at", "created_at")
    search_fields = ("customer__name", "charge_key")
    list_select_related = ("customer",)
    view_on_site = False


@admin.register(BillingPeriod, site=site)
class PeriodAdmin(ReadOnlyAdmin):
    """Billing periods as UTC instants."""

    list_display = ("customer", "start_at", "end_at", "state", "finalised_at")
    list_filter = ("state",)
    search_fields = ("customer__name",)
    list_select_related = ("customer",)
    date_hierarchy = "start_at"
    inlines = (InvoiceRows,)
    view_on_site = staticmethod(lambda row: customer_page(row.customer, "invoices"))


@admin.register(Invoice, site=site)
class InvoiceAdmin(ReadOnlyAdmin):
    """Invoices."""

    list_display = ("number", "customer", "state", "currency", "total", "due")
    list_filter = ("state", "currency")
    search_fields = ("number", "customer__name")
    list_select_related = ("customer",)
    date_hierarchy = "issued_at"
    inlines = (LineRows,)
    view_on_site = staticmethod(invoice_page)
    actions = (
        leading("Open PDF", STAFF, lambda row: f"{invoice_page(row)}.pdf"),
        confirmed(
            "Print again and compare",
            STAFF,
            lambda request, row: _compare(request, row),
            warning="Each PDF is made again and compared with the digest of the first.",
        ),
    )


def _compare(request: HttpRequest, row: Invoice) -> None:
    """Print an issued invoice again and say whether it is the same, byte by byte."""
    if not row.pdf_digest:
        raise AforoError("not_printed", 409, "It was not printed yet.")
    if pdf.digest(pdf.render(row)) != row.pdf_digest:
        raise AforoError("pdf_differs", 409, "The PDF differs from the first one.")
    messages.success(request, f"{row}: identical.")


@admin.register(InvoiceLine, site=site)
class InvoiceLineAdmin(ReadOnlyAdmin):
    """Lines of invoices."""

    list_display = ("invoice", "position", "name", "quantity", "unit", "amount")
    search_fields = ("name", "invoice__number")
    list_select_related = ("invoice__customer",)
    view_on_site = staticmethod(
        lambda row: f"{invoice_page(row.invoice)}?line={row.public_id}#line"
    )


@admin.register(InvoiceCounter, site=site)
class InvoiceCounterAdmin(ReadOnlyAdmin):
    """The last number given under a prefix."""

    list_display = ("prefix", "last")
    view_on_site = False


@admin.register(SubscriptionSnapshot, site=site)
class SnapshotAdmin(ReadOnlyAdmin):
    """What a contract says from an instant on."""

    list_display = ("subscription", "number", "effective_from", "plan_version")
    search_fields = ("customer__name",)
    list_select_related = ("subscription__customer", "plan_version__plan")
    date_hierarchy = "effective_from"
    view_on_site = staticmethod(lambda row: customer_page(row.customer))
