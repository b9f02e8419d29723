"""Previews of backdated prices: what they lock, and what they leave alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from aforo.core.models import Role
from catalog import cost_rates
from catalog.models import CostRate
from metering import pipeline, recosting
from metering.models import CostFact
from portal.tests.test_model_prices import PAGE, at, price, shop, sign_in
from tests.factories import Shop, store_event

pytestmark = pytest.mark.django_db
__all__ = ["shop"]  # The fixture.


@pytest.mark.django_db(transaction=True)
def test_a_preview_locks_nothing_while_it_counts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else changes rates, and sees no trial price, whatever it looks at."""
    monkeypatch.setattr(recosting, "PREVIEW_BATCH", 1)
    other = connection.copy()
    free: list[tuple[bool, int]] = []
    count, look = CostRate.objects.count(), recosting._stored_before

    def is_free() -> bool:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [cost_rates.LOCK])
            (taken,) = cursor.fetchone()
            return bool(taken)

    def looked(*args: Any) -> Any:
        free.append((is_free(), CostRate.objects.count()))
        return look(*args)

    monkeypatch.setattr(recosting, "_stored_before", looked)
    add = cost_rates.add_rate

    def added(**values: Any) -> CostRate:
        rate = add(**values)
        free.append((is_free(), CostRate.objects.count()))
        return rate

    monkeypatch.setattr(cost_rates, "add_rate", added)
    try:
        shown = sign_in(shop, Role.FINANCE).post(
            f"{PAGE}/new", price(valid_from=at(20))
        )
    finally:
        other.close()
    assert shown.context["preview"]["changed"] == 2
    # It was locked while the trial price was written, and not for any batch.
    assert free[0][0] is False
    assert free[0][1] > count
    assert free[1:] == [(True, count)] * 4
    assert CostRate.objects.count() == count


def test_a_preview_leaves_what_rating_remembers_alone(shop: Shop) -> None:
    client = sign_in(shop, Role.FINANCE)
    client.post(f"{PAGE}/new", price(valid_from=at(20)))
    store_event(shop, {"output_tokens": 1_000}, properties={"model": "gpt-4o"})
    pipeline.rate()
    fact = CostFact.objects.order_by("-id")[0]
    assert fact.amount == Decimal("0.01")  # At $10 a million, not at the trial's $12.
