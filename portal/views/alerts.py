"""Alerts: what happened, the rules, and one rule with what it did."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core.models import Happening, Role
from aforo.core.roles import role_required, staff_required
from guard import alert_rules, alerts
from guard.models import AlertRule, Delivery
from portal import keyset, live_alerts
from portal.alert_forms import RuleForm, SnoozeForm, shown
from portal.context import acting_tenant
from portal.pages import find, may, person, posted
from portal.views.actions import Deed, ask

# Who watches money or traffic.
WATCH = (Role.OWNER, Role.FINANCE, Role.OPERATIONS)
CRUMBS = (("Alerts", "/alerts"),)


def _rules() -> QuerySet[AlertRule]:
    return AlertRule.objects.order_by("name")


def _url(rule: AlertRule) -> str:
    return reverse("alert", args=[rule.public_id])


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show what happened, newest first, and the rules."""
    found = keyset.page(Happening.objects.all(), request.GET)
    context = {
        "page": found,
        "feed": [live_alerts.row_html(row) for row in found.rows],
        "rules": list(_rules()),
        "lines": alert_rules.LINES,
        "may_change": may(request, WATCH),
    }
    return render(request, "portal/alerts.html", context)


@staff_required
@require_GET
def rule(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show one rule: what it watches, when it fired, what was delivered."""
    row = find(_rules(), "alr", public_id)
    sent = Delivery.objects.filter(firing__rule=row).select_related("endpoint")
    context = {
        "rule": row,
        "line": alert_rules.LINES.get(row.kind),
        "firings": list(row.firings.order_by("-pk")[:50]),
        "deliveries": list(sent.order_by("-pk")[:50]),
        "may_change": may(request, WATCH),
    }
    return render(request, "portal/alert.html", context)


@role_required(*WATCH)
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add a rule."""
    form = RuleForm(posted(request))

    def act() -> str:
        made = alert_rules.create(
            tenant=acting_tenant(request), values=form.values, actor=person(request)
        )
        return f"The alert {made} is on."

    deed = Deed(
        title="New alert",
        text=["What happens stands in the feed in any case; a rule tells somebody."],
        button="Add alert",
        back="/alerts",
        crumbs=CRUMBS,
    )
    return ask(request, deed, form, act)


@role_required(*WATCH)
@require_POST
def starters(request: HttpRequest) -> HttpResponse:
    """Add the starters that are not there."""
    made = alert_rules.add_starters(
        tenant=acting_tenant(request), actor=person(request)
    )
    messages.success(request, f"{len(made)} alerts are added.")
    return redirect("alerts")


@role_required(*WATCH)
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, public_id: str) -> HttpResponse:
    """Change a rule."""
    row = find(_rules(), "alr", public_id)
    form = RuleForm(posted(request), initial=shown(row))

    def act() -> str:
        alert_rules.change(rule=row, values=form.values, actor=person(request))
        return "The alert is saved."

    deed = Deed(
        title=f"Change {row}",
        text=["It holds from the next thing that happens."],
        button="Save alert",
        back=_url(row),
        crumbs=CRUMBS,
    )
    return ask(request, deed, form, act)


@role_required(*WATCH)
@require_http_methods(["GET", "POST"])
def snooze(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let a rule keep quiet for a time."""
    row = find(_rules(), "alr", public_id)
    form = SnoozeForm(posted(request))

    def act() -> str:
        alert_rules.snooze(rule=row, during=form.time, actor=person(request))
        return f"{row} keeps quiet for a while."

    deed = Deed(
        title=f"Snooze {row}",
        text=["What happens meanwhile stands in the feed, and nobody is told of it."],
        button="Snooze",
        back=_url(row),
        crumbs=CRUMBS,
    )
    return ask(request, deed, form, act)


@role_required(*WATCH)
@require_POST
def wake(request: HttpRequest, public_id: str) -> HttpResponse:
    """End a snooze."""
    row = find(_rules(), "alr", public_id)
    alert_rules.snooze(rule=row, during=None, actor=person(request))
    messages.success(request, f"{row} tells again.")
    return redirect(_url(row))


@role_required(*WATCH)
@require_POST
def test_fire(request: HttpRequest, public_id: str) -> HttpResponse:
    """Let a rule fire by hand."""
    row = find(_rules(), "alr", public_id)
    alerts.test_fire(rule=row, actor=person(request))
    messages.success(request, "A test is on its way on every channel of the alert.")
    return redirect(_url(row))
