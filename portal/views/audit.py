"""Who did what, when, and what it changed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from aforo.core.models import AuditEntry, Membership, Tenant, User
from aforo.core.roles import staff_required
from portal import csvs, keyset
from portal.context import acting_tenant

DATE = forms.DateInput({"type": "date"})


def _people(request: HttpRequest | None) -> QuerySet[User]:
    """Return who could have acted: the tenant's members, former ones too."""
    if request is None:
        return User.objects.none()
    members = Membership.objects.filter(tenant=acting_tenant(request))
    return User.objects.filter(pk__in=members.values("user_id"))


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the audit, all in the address."""

    actor = django_filters.ModelChoiceFilter(queryset=_people, empty_label="Anybody")
    action = django_filters.CharFilter(
        lookup_expr="icontains",
        label="Action",
        widget=forms.TextInput({"placeholder": "member.invited"}),
    )
    object = django_filters.CharFilter(
        method="filter_object",
        label="Object",
        widget=forms.TextInput({"placeholder": "Name, id or kind"}),
    )
    since = django_filters.DateFilter(method="filter_since", label="From", widget=DATE)
    until = django_filters.DateFilter(method="filter_until", label="To", widget=DATE)

    class Meta:
        model = AuditEntry
        fields: tuple[str, ...] = ()

    def filter_object(
        self, rows: QuerySet[AuditEntry], name: str, value: str
    ) -> QuerySet[AuditEntry]:
        """Keep rows whose object has the text in its name, or is of that id or kind."""
        return rows.filter(
            Q(object_label__icontains=value)
            | Q(object_id=value)
            | Q(object_type__iexact=value.replace(" ", ""))
        )

    def filter_since(
        self, rows: QuerySet[AuditEntry], name: str, value: dt.date
    ) -> QuerySet[AuditEntry]:
        """Keep rows from the day on, in UTC."""
        start = dt.datetime.combine(value, dt.time(), dt.UTC)
        return rows.filter(created_at__gte=start)

    def filter_until(
        self, rows: QuerySet[AuditEntry], name: str, value: dt.date
    ) -> QuerySet[AuditEntry]:
        """Keep rows to the end of the day, in UTC."""
        end = dt.datetime.combine(value + dt.timedelta(days=1), dt.time(), dt.UTC)
        return rows.filter(created_at__lt=end)


def filtered(request: HttpRequest, tenant: Tenant) -> AuditFilter:
    """Return the tenant's audit under the filters of the address."""
    rows = AuditEntry.objects.filter(tenant=tenant).select_related("actor")
    return AuditFilter(request.GET, queryset=rows, request=request)


def changes_text(changes: dict[str, list[Any]]) -> str:
    """Return changes in one line: role: Viewer → Finance."""
    return "; ".join(
        f"{field}: {'—' if before is None else before}"
        f" → {'—' if after is None else after}"
        for field, (before, after) in changes.items()
    )


@staff_required
@require_GET
def entries(request: HttpRequest) -> HttpResponse:
    """Show the audit, newest first."""
    found = filtered(request, acting_tenant(request))
    shown = keyset.page(found.qs, request.GET)
    asked = {name for name in found.filters if request.GET.get(name)}
    context = {"filter": found, "page": shown, "is_filtered": bool(asked)}
    return render(request, "portal/audit.html", context)


@staff_required
@require_GET
def entries_csv(request: HttpRequest) -> HttpResponse:
    """Give exactly the filtered rows as CSV."""
    rows = filtered(request, acting_tenant(request)).qs.order_by("-pk")
    return csvs.response(
        "audit.csv",
        ["time_utc", "actor", "action", "object", "object_id", "changes", "ip"],
        (
            (
                row.created_at,
                row.actor_label,
                row.action,
                row.object_label,
                row.object_id,
                changes_text(row.changes),
                row.ip,
            )
            for row in rows[: csvs.ROWS_MAX + 1].iterator(chunk_size=2000)
        ),
    )
