"""The pages of a plan ask the database as often for twenty charges as for two."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan
from portal.tests.composer_kit import CALLS, make_plan
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db


def keep(plan: Plan, count: int) -> None:
    """Save a draft with so many charges, levels and discounts."""
    charges = [{**CALLS, "key": f"c{n}", "name": f"Calls {n}"} for n in range(count)]
    discounts = [{"name": f"D{n}", "percent": "1"} for n in range(count)]
    body: dict[str, Any] = {
        "currency": "USD",
        "charges": charges,
        "discounts": discounts[:20],
    }
    plans.save_draft(plan=plan, body=body, limits={}, actor=None)


def count(client: Client, address: str) -> int:
    """Return how many queries a page takes once it is warm."""
    client.get(address)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


def test_twenty_charges_take_no_more_queries_than_two(scene: Scene) -> None:
    plan, client = make_plan(scene), sign_in(scene, Role.OWNER)
    pages = ("", "/edit", "/preview", "/publish", "?tab=audit")
    found = []
    for size in (2, 20):
        keep(plan, size)
        found.append({p: count(client, f"/plans/{plan.public_id}{p}") for p in pages})
    few, many = found
    # The audit has one entry more, which takes no query of its own.
    assert few == many
    assert max(few.values()) < 60, few
