"""Webhook endpoints, and the messages that went to them."""

from __future__ import annotations

import datetime as dt

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
)

from aforo.core import audit
from aforo.core.roles import OPERATE, role_required, staff_required
from aforo.lib.errors import AforoError
from guard import alerts, deliveries, webhooks
from guard.models import Delivery, WebhookEndpoint
from portal import keyset
from portal.account_forms import RotateForm
from portal.alert_forms import EndpointForm
from portal.context import acting_tenant
from portal.pages import find, may, person, posted
from portal.secrets import keep_secret
from portal.views.actions import Deed, ask

CRUMBS = (("Webhooks", "/webhooks"),)


def _endpoints() -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(removed_at__isnull=True)


@staff_required
@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the endpoints and the deliveries, newest first."""
    rows = Delivery.objects.filter(endpoint__isnull=False).select_related("endpoint")
    context = {
        "endpoints": list(_endpoints()),
        "page": keyset.page(rows, request.GET),
        "may_change": may(request, OPERATE),
        "attempts_max": deliveries.ATTEMPTS_MAX,
    }
    return render(request, "portal/webhooks.html", context)


def _keep(request: HttpRequest, secret: str, url: str) -> None:
    """Keep a new secret for the one page that shows it."""
    keep_secret(
        request, secret, title=f"Signing secret of {url}", back=reverse("webhooks")
    )


@role_required(*OPERATE)
@never_cache
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add an endpoint; its secret is shown on the next page, once."""
    form = EndpointForm(posted(request))

    def act() -> str:
        made, secret = webhooks.add(
            tenant=acting_tenant(request), actor=person(request), **form.cleaned_data
        )
        _keep(request, secret, made.url)
        return ""

    deed = Deed(
        title="New webhook endpoint",
        text=["The signing secret is shown on the next page and never again."],
        button="Add endpoint",
        back="/webhooks",
        crumbs=CRUMBS,
    )
    return ask(request, deed, form, act, then=reverse("credential-secret"))


@role_required(*OPERATE)
@never_cache
@require_http_methods(["GET", "POST"])
def rotate(request: HttpRequest, public_id: str) -> HttpResponse:
    """Give an endpoint a new secret; the old one signs too for a while."""
    row = find(_endpoints(), "whk", public_id)
    form = RotateForm(posted(request))
    hours = {"24h": 24, "1h": 1, "7d": 168, "now": 0}

    def act() -> str:
        overlap = dt.timedelta(hours=hours[request.POST["overlap"]])
        secret = webhooks.rotate(endpoint=row, overlap=overlap, actor=person(request))
        _keep(request, secret, row.url)
        return ""

    deed = Deed(
        title=f"Rotate the secret of {row}",
        text=["Messages carry both signatures for the time that you choose."],
        button="Rotate",
        back="/webhooks",
        crumbs=CRUMBS,
    )
    return ask(request, deed, form, act, then=reverse("credential-secret"))


@role_required(*OPERATE)
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, public_id: str) -> HttpResponse:
    """Take an endpoint away."""
    row = find(_endpoints(), "whk", public_id)

    def act() -> str:
        webhooks.remove(endpoint=row, actor=person(request))
        return f"{row} gets nothing any more."

    deed = Deed(
        title=f"Remove {row}?",
        text=["Messages that wait are not sent; those that were stay listed."],
        button="Remove",
        danger=True,
        back="/webhooks",
        crumbs=CRUMBS,
    )
    return ask(request, deed, None, act)


@role_required(*OPERATE)
@require_POST
def switch(request: HttpRequest, public_id: str) -> HttpResponse:
    """Turn an endpoint on or off."""
    row = find(_endpoints(), "whk", public_id)
    webhooks.change(
        endpoint=row, changes={"enabled": not row.enabled}, actor=person(request)
    )
    return redirect("webhooks")


@role_required(*OPERATE)
@require_POST
def test(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send a test message."""
    row = find(_endpoints(), "whk", public_id)
    try:
        alerts.test_endpoint(endpoint=row, actor=person(request))
        messages.success(request, "A test message is on its way.")
    except AforoError as error:
        messages.error(request, error.detail)
    return redirect("webhooks")


@role_required(*OPERATE)
@require_POST
def replay(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send a message again."""
    row = find(Delivery.objects.all(), "dlv", public_id)
    try:
        deliveries.replay(row)
        audit.from_request(request, action="webhook.replayed", target=row)
        messages.success(request, "The message is sent again, under the same id.")
    except AforoError as error:
        messages.error(request, error.detail)
    return redirect("webhooks")
