"""Backfills of old usage: tried first, confirmed by typing, stored as a job."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core.roles import OPERATE, role_required, staff_required
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO
from metering import backfill_jobs
from metering.advice import advice
from metering.backfill_files import EVENTS_MAX
from metering.identity import AGE_MAX, BACKFILL_AGE_MAX
from metering.models import Backfill, BackfillPart, Unrateable
from portal import csvs, keyset
from portal.backfill_forms import BackfillForm, ConfirmForm
from portal.context import acting_tenant
from portal.pages import find, may, person, posted, refuse
from portal.ui import figures as words

SHOWN_MAX = 100


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """Take a file of old usage to be tried, and list those of before."""
    form = BackfillForm(posted(request), request.FILES or None)
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            made = backfill_jobs.request(
                tenant=acting_tenant(request),
                data=given["data"],
                name=given["name"],
                reason=given["reason"],
                actor=person(request),
            )
            return redirect("backfill", made.public_id)
        except AforoError as error:
            refuse(form, error)
    context = {
        "form": form,
        "page": keyset.page(Backfill.objects.all(), request.GET, size=20),
        "most": EVENTS_MAX,
        "ordinary_days": AGE_MAX.days,
        "oldest": clock.now() - BACKFILL_AGE_MAX,
    }
    status = 422 if form.errors else 200
    return render(request, "portal/backfills.html", context, status=status)


def _found(public_id: str) -> Backfill:
    """Return a backfill of the tenant; foreign ones are 404 like absent ones."""
    return find(Backfill.objects.all(), "bfl", public_id)


@staff_required
@require_GET
def backfill(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show how far a backfill is, what it would do, or what it did."""
    found = _found(public_id)
    if getattr(request, "htmx", False):
        answer = render(request, "portal/_backfill_progress.html", _head(found))
        if not found.is_open:
            answer["HX-Refresh"] = "true"
        return answer
    return _shown(request, found, ConfirmForm())


def _shown(
    request: HttpRequest, found: Backfill, form: ConfirmForm, status: int = 200
) -> HttpResponse:
    """Return the page of a backfill."""
    trial = found.trial or {}
    faults, unpriced = trial.get("faults", []), trial.get("unpriced", [])
    periods = [_period(row) for row in trial.get("periods", [])]
    context = _head(found) | {
        "form": form,
        "may_confirm": may(request, OPERATE),
        "counts": trial.get("counts", {}),
        "accepted": backfill_jobs.accepted(found),
        "faults": faults[:SHOWN_MAX],
        "faults_count": len(faults),
        "unpriced": [_unpriced(*row) for row in unpriced[:SHOWN_MAX]],
        "unpriced_count": len(unpriced),
        "periods": periods,
        "adjusted": sum(row["is_adjustment"] for row in periods),
        "totals": _totals(periods),
        "same": _same(found),
    }
    return render(request, "portal/backfill.html", context, status=status)


def _head(found: Backfill) -> dict[str, Any]:
    """Return what is shown of every backfill."""
    return {
        "run": found,
        "count": Decimal(found.step_count or 1),
        "done": Decimal(found.done_count),
        "progress": f"{found.done_count:,} of {found.step_count:,} steps",
        "calm": Decimal(2),  # No share of progress is alarming.
    }


_at = dt.datetime.fromisoformat


def _period(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the trial with figures for figures."""
    names = ("from", "until", "billed_from", "billed_until")
    used, ended, billed, closed = (_at(row[name]) for name in names)
    return {
        **row,
        "period": words.period_text(used, ended, row["timezone"]),
        "billed": words.period_text(billed, closed, row["timezone"]),
        "amount": Decimal(row["amount"]),
        "cost": Decimal(row["cost"]),
    }


def _unpriced(line: int, code: str, detail: str) -> tuple[int, str, str]:
    """Return a line without a price with its reason in words, and what to do."""
    reasons = dict(Unrateable.Reason.choices)
    return line, str(reasons.get(code, code)), detail or advice(code)


def _totals(periods: list[dict[str, Any]]) -> list[tuple[str, Decimal, Decimal]]:
    """Return what would be charged and what it cost, by currency."""
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for row in periods:
        amount, cost = found.get(row["currency"], (ZERO, ZERO))
        found[row["currency"]] = (amount + row["amount"], cost + row["cost"])
    return [(money, *sums) for money, sums in sorted(found.items())]


def _same(found: Backfill) -> Backfill | None:
    """Return an earlier backfill of the same text that was stored."""
    rows = Backfill.objects.filter(digest=found.digest, state=Backfill.State.DONE)
    return rows.exclude(pk=found.pk).first()


@role_required(*OPERATE)
@require_POST
def confirm(request: HttpRequest, public_id: str) -> HttpResponse:
    """Store what was tried, when the number of events is typed."""
    found = _found(public_id)
    form = ConfirmForm(request.POST)
    if form.is_valid():
        try:
            typed = form.cleaned_data["typed"]
            backfill_jobs.confirm(backfill=found, typed=typed, actor=person(request))
            return redirect("backfill", found.public_id)
        except AforoError as error:
            refuse(form, error)
    return _shown(request, found, form, status=422)


@role_required(*OPERATE)
@require_POST
def discard(request: HttpRequest, public_id: str) -> HttpResponse:
    """Forget what was tried."""
    try:
        backfill_jobs.discard(backfill=_found(public_id), actor=person(request))
        messages.success(request, "The backfill is discarded; nothing was stored.")
    except AforoError as error:
        messages.error(request, error.detail)
    return redirect("backfills")


CSV_HEAD = ("line", "status", "code", "detail", "event_id")


def _cells(found: Backfill) -> Iterator[list[Any]]:
    """Yield what is known of each line: what was done, else what was found out."""
    if found.state == Backfill.State.DONE:
        for line, code, detail in found.unread:
            yield [line, "rejected", code, detail, ""]
        parts = BackfillPart.objects.filter(backfill=found).order_by("position")
        for part in parts.iterator(20):
            yield from part.verdicts or ()
        return
    trial = found.trial or {"faults": found.unread, "unpriced": []}
    for line, code, detail in trial["faults"]:
        yield [line, "rejected", code, detail, ""]
    for line, code, detail in trial["unpriced"]:
        yield [line, "without_price", code, _unpriced(line, code, detail)[2], ""]


@staff_required
@require_GET
def lines_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give what became of each line as CSV; before storing, what is wrong with any."""
    return csvs.response("backfill-lines.csv", CSV_HEAD, _cells(_found(public_id)))


MONEY_HEAD = (
    "customer customer_id period_from_utc period_until_utc is_adjustment"
    " billed_from_utc billed_until_utc events currency amount cost"
).split()


@staff_required
@require_GET
def money_csv(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give what the trial would charge, by customer and period, as CSV."""
    rows = (_found(public_id).trial or {}).get("periods", [])
    cells = (
        [
            row["customer"],
            row["customer_id"],
            row["from"],
            row["until"],
            row["is_adjustment"],
            row["billed_from"],
            row["billed_until"],
            row["events"],
            row["currency"],
            Decimal(row["amount"]),
            Decimal(row["cost"]),
        ]
        for row in rows
    )
    return csvs.response("backfill-money.csv", MONEY_HEAD, cells)
