"""The first page of a customer's own people: what they use and what it comes to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from aforo.core.roles import membership
from aforo.lib import clock
from billing.models import Customer
from portal.context import acting_tenant
from portal.selectors import own_home


def show(request: HttpRequest) -> HttpResponse:
    """Show a developer its customer; whoever calls checked the role."""
    customer_id = membership(request).customer_id
    assert customer_id is not None, "a developer belongs to a customer"
    customer = Customer.objects.get(pk=customer_id)
    context = own_home.overview(customer, clock.now())
    context["seller"] = acting_tenant(request)
    return render(request, "portal/own_home.html", context)
