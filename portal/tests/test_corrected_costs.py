"""A corrected cost is told once: in a session's trace and in what a unit costs."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.cache import cache

from metering.models import Session
from metering.tests.test_recosting import LONG_AGO, follow, rate, used
from portal.selectors import sessions, unit_costs
from portal.trace import Stage
from tests.factories import make_shop

pytestmark = pytest.mark.django_db


def test_a_corrected_cost_counts_once_in_trace_and_unit_costs() -> None:
    cache.clear()
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    used(shop, 3)  # Of ten output tokens each.
    for amount in ("0.5", "0.3"):
        rate(shop, amount, LONG_AGO)
        follow(shop)

    trace = sessions.trace(Session.objects.get())
    costs = {row.stage: row.cost for row in trace.rows}

    assert trace.agrees
    assert trace.cost == costs[Stage.OUTPUT] == Decimal(9)
    blended = unit_costs.blended(shop.tenant, "USD")
    assert blended.sums == {
        ("llm.completion", "output_tokens"): (Decimal(30), Decimal(9))
    }
