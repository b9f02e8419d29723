"""What the views of the console share: finding by public id, forms, refusals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse

from aforo.core.models import Role, User
from aforo.core.roles import membership
from aforo.lib import ids
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO, display

Row = TypeVar("Row", bound=Model)


def find(rows: QuerySet[Row], prefix: str, public_id: str) -> Row:
    """Return the row behind an outside id; absent and foreign ones are 404 alike."""
    key = ids.parse_public(prefix, public_id)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        raise Http404(f"There is no {rows.model._meta.verbose_name} {public_id}.")
    return found


def may(request: HttpRequest, roles: tuple[Role, ...]) -> bool:
    """Tell whether the person has one of the roles."""
    return membership(request).role in roles


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what was sent, also when it is empty; None when the page is only read."""
    return request.POST if request.method == "POST" else None


def person(request: HttpRequest) -> User:
    """Return who is signed in."""
    assert isinstance(request.user, User), "the view lets only members in"
    return request.user


def admin_url(row: Model) -> str:
    """Return where the back office shows a row."""
    return reverse(
        f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]
    )


def days_of(
    found: Mapping[dt.date, Decimal], currency: str
) -> tuple[list[dict[str, object]], str]:
    """Return days as rows of a chart, and what their course shows in a sentence."""
    rows: list[dict[str, object]] = [
        {"label": f"{day:%-d %b}", "value": max(v, ZERO), "text": display(v, currency)}
        for day, v in found.items()
    ]
    total = sum(found.values(), ZERO)
    if not total:
        return rows, f"Nothing in these {len(rows)} days"
    best = max(found, key=lambda day: found[day])
    return rows, (
        f"{display(total, currency)} in {len(rows)} day{'' if len(rows) == 1 else 's'},"
        f" most on {best:%-d %b}: {display(found[best], currency)}"
    )


def refuse(form: forms.BaseForm, error: AforoError) -> None:
    """Put a refusal next to the field at fault, or on top of the form."""
    name = error.field if error.field in form.fields else NON_FIELD_ERRORS
    form.add_error(name, error.detail)


def parse_day(text: str) -> dt.date | None:
    """Return the day of an address (2026-03-14), or None when it is none."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if day < dt.date.max else None  # The day after it must exist.


def curl(tenant_url: str) -> str:
    """Return a request that sends one event, for pages that wait for the first."""
    return (
        f"curl -s {tenant_url}/v1/events \\\n"
        '  -H "Authorization: Bearer $AFORO_SERVICE_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"eventType": "llm.completion", "customerId": "cust_abc","""
        """ "correlationId": "req_1", "properties": {"model": "gpt-4o"},"""
        """ "measurements": [{"metricKey": "input_tokens", "value": 1842},"""
        """ {"metricKey": "output_tokens", "value": 623}]}'"""
    )
