"""What the pages that change a contract share: who may, the contract, the digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from aforo.core.models import Role
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import own_prices
from billing.models import Subscription, SubscriptionSnapshot
from billing.periods import period_at
from portal.pages import find

CONTRACTS = (Role.OWNER, Role.PRODUCT_MANAGER, Role.FINANCE)
NOW, NEXT = "now", "next"

# A contract, its last snapshot, and what its pages show of both.
Opened = tuple[Subscription, SubscriptionSnapshot, dict[str, Any]]


def open_contract(request: HttpRequest, public_id: str) -> Opened | HttpResponse:
    """Return a contract that can be changed; one that cannot leads to its customer.

    Raises Http404 for one that is not there.
    """
    rows = Subscription.objects.select_related("customer", "product", "agent")
    found = find(rows, "sub", public_id)
    back = reverse("customer", args=[found.customer.public_id])
    try:
        last = own_prices.last_snapshot(found)
    except AforoError as error:
        messages.error(request, error.detail)
        return redirect(back)
    assert last.plan_version is not None, "last_snapshot refuses an end"
    return (
        found,
        last,
        {
            "subscription": found,
            "customer": found.customer,
            "back": back,
            "next_at": period_at(found.customer_id, clock.now()).end_at,
        },
    )


def since_words(when: str) -> str:
    """Return from when a change holds."""
    return "from now on" if when == NOW else "from the next period"


def digest(said: Any) -> str:
    """Return what a review comes to: what is confirmed must have been seen."""
    text = json.dumps(said, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
