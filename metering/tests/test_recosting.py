"""A corrected rate changes what was known of costs, and nothing that was charged."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from typing import Any

import pytest

from aforo.core.models import FxRate
from aforo.lib import clock
from aforo.management.commands.verify import breaks
from billing.models import CustomerBooks, LedgerEntry, UsageTotal
from catalog.cost_rates import add_rate, close_rate
from catalog.models import CostRate
from metering import cost_jobs, pipeline, recosting, unrateable
from metering.models import CostFact, CostRun, Session, Unrateable, UsageRollup
from metering.tests.test_review_replay import _cost_plus, _on_plan
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db

# As old as the shop of the tests; usage is of the last half hour.
LONG_AGO = clock.now() - dt.timedelta(days=300)


def rate(shop: Shop, amount: str, at: dt.datetime, **given: Any) -> CostRate:
    subject = {"provider": "tool", "model": "new-model", "unit": "output_tokens"}
    return add_rate(
        tenant=shop.tenant,
        amount=Decimal(amount),
        valid_from=at,
        actor=None,
        **{**subject, "currency": "USD", **given},
    )


def used(shop: Shop, count: int = 3, **given: Any) -> None:
    for _ in range(count):
        properties = {"model": "new-model"}
        store_event(
            shop, {"output_tokens": 10}, properties=properties, session_key="s", **given
        )
    pipeline.rate()


def follow(shop: Shop, since: dt.datetime = LONG_AGO, **given: Any) -> dict[str, Any]:
    run = cost_jobs.recost_since(
        tenant=shop.tenant, since=since, title="Corrected", **given
    )
    assert run is not None
    assert cost_jobs.run() is False
    run.refresh_from_db()
    assert run.state == CostRun.State.DONE, run.failure
    assert run.result is not None
    return run.result


def sums(shop: Shop) -> set[tuple[Decimal, int]]:
    """Return cost and unknown count by every table that has them."""
    facts = CostFact.objects.filter(customer=shop.customer)
    events = facts.values_list("event").distinct()
    known = facts.filter(amount__isnull=False)
    cost = sum((fact.amount or Decimal(0) for fact in known), Decimal(0))
    unknown = events.count() - known.values("event").distinct().count()
    found = {(cost, unknown)}
    hours = UsageRollup.objects.filter(customer=shop.customer)
    runs = Session.objects.filter(customer=shop.customer)
    totals = UsageTotal.objects.filter(customer=shop.customer, event_count__gt=0)
    for rows in (hours, runs, totals):
        found.update(rows.values_list("cost", "cost_unknown_count"))
    return found


def clean() -> None:
    assert {code: found for code, found in breaks().items() if found} == {}


def test_a_backdated_rate_appends_differences_and_moves_every_sum() -> None:
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    used(shop)
    entries = list(LedgerEntry.objects.order_by("id").values())
    version = CustomerBooks.objects.get(customer=shop.customer).version
    assert sums(shop) == {(Decimal(6), 0)}
    rate(shop, "0.25", LONG_AGO + dt.timedelta(days=1))
    result = follow(shop)
    assert sums(shop) == {(Decimal("7.5"), 0)}
    assert (result["changed"], result["changes"]) == (3, {"USD": "1.5"})
    facts = CostFact.objects.filter(kind="recost")
    assert {fact.amount for fact in facts} == {Decimal("0.5")}
    # Prices and entries are what they were; the edge is told by a new version.
    assert list(LedgerEntry.objects.order_by("id").values()) == entries
    assert CustomerBooks.objects.get(customer=shop.customer).version > version
    clean()


def test_doing_it_again_adds_nothing() -> None:
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    used(shop)
    rate(shop, "0.1", LONG_AGO)
    follow(shop)
    count = CostFact.objects.count()
    assert follow(shop)["changed"] == 0
    assert CostFact.objects.count() == count
    assert sums(shop) == {(Decimal(3), 0)}


def test_only_usage_after_the_change_is_costed_anew() -> None:
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    now = clock.now()
    used(shop, 2, at=now - dt.timedelta(minutes=20))
    used(shop, 3, at=now - dt.timedelta(minutes=5))
    rate(shop, "0.3", now - dt.timedelta(minutes=10))
    result = follow(shop)
    assert (result["events"], result["changed"]) == (5, 3)
    total = sum(r.cost for r in UsageRollup.objects.filter(customer=shop.customer))
    assert total == Decimal(13)
    clean()


def test_an_unknown_cost_becomes_known_and_is_counted_so() -> None:
    shop = make_shop()
    used(shop)
    assert sums(shop) == {(Decimal(0), 3)}
    rate(shop, "0.2", LONG_AGO)
    assert follow(shop, names=["new-model"])["found"] == 3
    assert sums(shop) == {(Decimal(6), 0)}
    clean()


def test_a_cost_that_is_found_to_be_zero_is_known() -> None:
    shop = make_shop()
    used(shop)
    rate(shop, "0", LONG_AGO)
    follow(shop)
    assert sums(shop) == {(Decimal(0), 0)}


def test_rates_of_other_names_are_left_alone() -> None:
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    used(shop)
    rate(shop, "0.3", LONG_AGO)
    assert follow(shop, names=["gpt-4o"])["changed"] == 0
    assert sums(shop) == {(Decimal(6), 0)}


def test_a_closed_rate_leaves_known_costs_known() -> None:
    shop = make_shop()
    found = rate(shop, "0.2", LONG_AGO)
    used(shop)
    close_rate(rate=found, at=LONG_AGO, actor=None)
    assert follow(shop)["changed"] == 0
    assert sums(shop) == {(Decimal(6), 0)}


def test_another_currency_takes_the_old_amount_back() -> None:
    shop = make_shop()
    FxRate.objects.create(
        tenant=shop.tenant,
        base="EUR",
        quote="USD",
        rate=Decimal("1.5"),
        valid_from=LONG_AGO,
    )
    rate(shop, "0.2", LONG_AGO)
    used(shop, 1)
    rate(shop, "0.2", LONG_AGO, currency="EUR")
    follow(shop)
    facts = CostFact.objects.values_list("kind", "currency", "amount")
    assert sorted(facts) == [  # Both corrections are of one moment.
        ("original", "USD", Decimal(2)),
        ("recost", "EUR", Decimal(2)),
        ("recost", "USD", Decimal(-2)),
    ]
    assert UsageRollup.objects.get().cost == Decimal(3)
    assert follow(shop)["changed"] == 0
    clean()


def test_a_price_that_is_a_share_of_the_cost_stays_when_the_cost_moves() -> None:
    shop = _on_plan(_cost_plus())
    add_cost(shop.tenant, model="new-model", unit="output_tokens", amount="0.2")
    used(shop, 2)
    spend = [t.spend for t in UsageTotal.objects.filter(spend__gt=0)]
    assert spend == [Decimal("5.2")]
    rate(shop, "0.5", LONG_AGO)
    follow(shop)
    assert [t.spend for t in UsageTotal.objects.filter(spend__gt=0)] == spend
    assert UsageTotal.objects.get(spend__gt=0).cost == Decimal(10)
    clean()  # Rating again prices with the cost that was known then.


def test_an_event_replayed_after_a_correction_has_the_corrected_cost() -> None:
    shop = _on_plan(_cost_plus())
    used(shop, 1)
    listed = Unrateable.objects.get()
    rate(shop, "0.2", LONG_AGO)
    follow(shop)
    rate(shop, "0.3", LONG_AGO)
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    assert UsageTotal.objects.get(spend__gt=0).spend == Decimal("3.9")
    assert [(f.kind, f.amount) for f in CostFact.objects.order_by("id")] == [
        ("original", None),
        ("recost", Decimal(2)),
        ("delta", Decimal(1)),
    ]
    rate(shop, "0.4", LONG_AGO)
    follow(shop)
    clean()
    assert sums(shop) == {(Decimal(4), 0)}


def test_a_worker_that_dies_is_taken_over_where_it_was(monkeypatch) -> None:
    shop = make_shop()
    rate(shop, "0.2", LONG_AGO)
    used(shop, 5)
    rate(shop, "0.3", LONG_AGO)
    monkeypatch.setattr(recosting, "BATCH", 2)
    run = cost_jobs.recost_since(tenant=shop.tenant, since=LONG_AGO, title="Corrected")
    assert run is not None
    now = [0.0]

    def slow(*args: Any) -> dict[str, Any]:
        now[0] = 99.0  # Its time is over after the first batch.
        return recosting.step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now[0])
        patch.setitem(cost_jobs.STEPS, CostRun.Kind.RECOST, slow)
        assert cost_jobs.run(seconds=1.0) is True
    assert sums(shop) != {(Decimal(15), 0)}
    CostRun.objects.filter(pk=run.pk).update(heartbeat_at=LONG_AGO)
    assert cost_jobs.waiting(clock.now())
    cost_jobs.run()
    run.refresh_from_db()
    assert run.result is not None
    assert (run.result["changed"], run.done_count) == (5, 1)
    assert sums(shop) == {(Decimal(15), 0)}


def test_nothing_is_asked_for_when_the_change_is_ahead() -> None:
    shop = make_shop()
    ahead = clock.now() + dt.timedelta(days=1)
    assert cost_jobs.recost_since(tenant=shop.tenant, since=ahead, title="x") is None
