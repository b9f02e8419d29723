"""Backtests as jobs: requested, run, cut off, taken over, cancelled."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connections

from aforo.core import tenancy
from aforo.core.models import AuditEntry
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing.models import Customer
from billing.tests.cast import DAY, NOVEMBER, OCTOBER
from catalog import plans
from catalog.pricing.bulk import Tabulation
from metering import backtest_jobs, backtest_plans, jobs, tasks
from metering.backtest import Pricer
from metering.models import Backtest, BacktestRow
from metering.tests.backtest_kit import DOUBLE, MONTH, ask, fill, told
from tests.factories import (
    TOKENS_PLAN,
    Shop,
    make_shop,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A seller with three customers, in November."""
    with clock.travel(OCTOBER):
        made = make_shop(since=OCTOBER)
    fill(made)
    with clock.travel(NOVEMBER + 5 * DAY):
        yield made


def test_a_backtest_is_priced_customer_by_customer(shop: Shop) -> None:
    made = ask(shop, DOUBLE, TOKENS_PLAN)
    assert (made.state, made.customer_count, made.done_count) == ("queued", 3, 0)
    assert backtest_jobs.waiting(clock.now())
    assert backtest_jobs.run() is False
    made.refresh_from_db()
    assert (made.state, made.done_count, made.failure) == ("done", 3, "")
    assert None not in (made.started_at, made.finished_at, made.heartbeat_at)
    assert made.result is not None
    first, second = made.result["plans"]
    assert (first["old"], first["new"]) == ("6", "12")
    assert (second["difference"], first["shocks"], second["shocks"]) == ("0", 3, 0)
    assert not backtest_jobs.waiting(clock.now())
    entry = AuditEntry.objects.get(action="backtest.requested")
    assert entry.actor == shop.owner
    assert entry.changes["customers"] == [None, "3"]


def test_only_the_chosen_customers_are_priced(shop: Shop) -> None:
    names = [shop.customer.public_id, shop.customer.external_id]
    made = ask(shop, customers=names)
    backtest_jobs.run()
    made.refresh_from_db()
    assert (made.customer_count, made.all_customers) == (1, False)
    assert [row.customer_id for row in made.rows.all()] == [shop.customer.pk]


class Death(BaseException):
    """Ends a worker in the middle, as a kill does."""


def die_at(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Let the worker die while it prices its nth customer."""
    left = [nth]
    price = Pricer.price

    def dying(self: Pricer, *args: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Death
        return price(self, *args, **more)

    monkeypatch.setattr(Pricer, "price", dying)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_worker_that_dies_is_followed_by_another_with_the_same_result(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    whole = ask(shop)
    backtest_jobs.run()
    made = ask(shop)
    with monkeypatch.context() as patch:
        die_at(patch, nth)
        with pytest.raises(Death):
            backtest_jobs.run()
    made.refresh_from_db()
    assert (made.state, made.done_count, made.result) == ("running", nth - 1, None)
    now = clock.now()
    assert not backtest_jobs.waiting(now)
    with clock.travel(now + jobs.STALE + dt.timedelta(seconds=1)):
        assert backtest_jobs.waiting(clock.now())
        kept = list(made.rows.filter(figures__isnull=False).values_list("pk"))
        assert len(kept) == nth - 1
        backtest_jobs.run()
    assert told(made) == told(whole)


def test_trouble_of_the_store_leaves_it_to_be_taken_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask(shop)

    def away(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Pricer, "price", away)
        with pytest.raises(psycopg.OperationalError):
            backtest_jobs.run()
    made.refresh_from_db()
    assert made.state == "running"
    backtest_jobs.run()
    made.refresh_from_db()
    assert made.state == "done"


def test_another_fault_fails_the_backtest_and_the_next_one_runs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = ask(shop), ask(shop)
    price = Pricer.price
    calls: list[int] = []

    def faulty(self: Pricer, *args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a fault")
        return price(self, *args, **more)

    monkeypatch.setattr(Pricer, "price", faulty)
    backtest_jobs.run()
    broken.refresh_from_db()
    sound.refresh_from_db()
    assert (broken.state, broken.failure) == ("failed", "ValueError: a fault")
    assert broken.result is None
    assert sound.state == "done"


def test_a_fault_while_events_are_read_is_kept_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask(shop)

    def faulty(self: Tabulation, events: Any) -> None:
        raise ValueError("in the middle")

    monkeypatch.setattr(Tabulation, "add", faulty)
    backtest_jobs.run()
    made.refresh_from_db()
    assert (made.state, made.failure) == ("failed", "ValueError: in the middle")


def test_a_slice_ends_after_a_customer_and_the_next_goes_on(shop: Shop) -> None:
    made = ask(shop)
    assert backtest_jobs.run(seconds=0) is True
    for done in (1, 2, 3):
        backtest_jobs.QUEUE.turn(made, 0.0)
        made.refresh_from_db()
        assert (made.state, made.done_count) == ("running", done)
    assert backtest_jobs.run() is False
    made.refresh_from_db()
    assert made.state == "done"


def test_a_cancelled_backtest_is_not_priced(shop: Shop) -> None:
    made = ask(shop)
    backtest_jobs.cancel(backtest_id=made.pk, actor=shop.owner)
    backtest_jobs.run()
    made.refresh_from_db()
    assert (made.state, made.done_count, made.result) == ("cancelled", 0, None)
    assert AuditEntry.objects.filter(action="backtest.cancelled").count() == 1
    with pytest.raises(AforoError) as refused:
        backtest_jobs.cancel(backtest_id=made.pk, actor=shop.owner)
    assert (refused.value.status, refused.value.code) == (409, "backtest_over")


def test_a_cancel_stops_it_after_the_customer_at_hand(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask(shop)
    price = Pricer.price

    def cancelling(self: Pricer, *args: Any, **more: Any) -> Any:
        if made.rows.filter(figures__isnull=False).count() == 1:
            backtest_jobs.cancel(backtest_id=made.pk, actor=None)
        return price(self, *args, **more)

    monkeypatch.setattr(Pricer, "price", cancelling)
    backtest_jobs.run()
    made.refresh_from_db()
    assert (made.state, made.done_count, made.result) == ("cancelled", 1, None)
    assert made.rows.filter(figures__isnull=False).count() == 1


def test_a_cancel_stops_a_customer_with_many_events(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask(shop)
    monkeypatch.setattr(jobs, "LOOK_S", 0.0)

    def long(self: Pricer, customer: Customer, *, beat: Any) -> Any:
        backtest_jobs.cancel(backtest_id=made.pk, actor=None)
        beat()
        raise AssertionError("the beat stops it")

    monkeypatch.setattr(Pricer, "price", long)
    backtest_jobs.run()
    made.refresh_from_db()
    assert (made.state, made.done_count) == ("cancelled", 0)


def test_a_worker_that_was_followed_by_another_writes_nothing_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ask(shop)
    price = Pricer.price

    def followed(self: Pricer, *args: Any, **more: Any) -> Any:
        Backtest.objects.filter(pk=made.pk).update(run=made.pk)
        return price(self, *args, **more)

    monkeypatch.setattr(Pricer, "price", followed)
    backtest_jobs.QUEUE.turn(made, 1e12)
    made.refresh_from_db()
    assert (made.state, made.done_count) == ("running", 0)
    assert not made.rows.filter(figures__isnull=False).exists()


@pytest.mark.django_db(transaction=True)
def test_one_worker_at_a_time_prices_backtests() -> None:
    with clock.travel(OCTOBER):
        shop = make_shop(since=OCTOBER)
    with clock.travel(NOVEMBER + DAY):
        made = ask(shop)
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            with backtest_jobs.QUEUE.alone() as alone:
                assert alone
                held.set()
                go_on.wait(30)
            connections.close_all()

        other = threading.Thread(target=hold)
        other.start()
        assert held.wait(30)
        assert backtest_jobs.run() is False
        made.refresh_from_db()
        assert made.state == "queued"
        go_on.set()
        other.join()
        tasks.resume_backtests()
        tasks.run_backtests()
        made.refresh_from_db()
        assert made.state == "done"


def test_a_draft_is_kept_as_it_was_when_it_was_asked_for(shop: Shop) -> None:
    plan = plans.create_plan(product=shop.product, name="New", code="new", actor=None)
    draft = plans.save_draft(plan=plan, body=DOUBLE, limits={}, actor=None)
    made = ask(shop, plans=[backtest_plans.frozen_version(draft)])
    plans.save_draft(plan=plan, body=TOKENS_PLAN, limits={}, actor=None)
    backtest_jobs.run()
    made.refresh_from_db()
    assert made.plans[0]["state"] == "draft"
    assert made.result is not None
    assert made.result["plans"][0]["new"] == "12"


def refused(shop: Shop, **more: Any) -> tuple[str, str | None]:
    """Return the code and field of the refusal of a request."""
    with pytest.raises(AforoError) as error:
        ask(shop, **more)
    assert error.value.status == 422
    return error.value.code, error.value.field


def test_what_cannot_be_backtested_is_refused(shop: Shop) -> None:
    own = backtest_plans.frozen_version(shop.version)
    euro = {**own, "body": {**own["body"], "currency": "EUR"}}
    other = {**own, "product": str(shop.tenant.pk)}
    assert refused(shop, plans=[]) == ("no_plan", "versions")
    assert refused(shop, plans=[own] * 5) == ("too_many_plans", "versions")
    assert refused(shop, plans=[own, euro]) == ("currencies_differ", "versions")
    assert refused(shop, plans=[own, other]) == ("products_differ", "product")
    assert refused(shop, customers=[]) == ("no_customers", "customers")
    strangers = ["cus_x", "nobody", "", "a\0b", make_shop().customer.public_id]
    for name in strangers:
        found = refused(shop, customers=[shop.customer.public_id, name])
        assert found == ("unknown_customer", "customers")
    many = [str(n) for n in range(backtest_plans.CUSTOMERS_MAX + 1)]
    assert refused(shop, customers=many) == ("too_many_customers", "customers")
    assert not Backtest.objects.exists()


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-11", "2027-01", "2023-10", "26-10", 7, None]
)
def test_only_months_that_are_over_can_be_chosen(shop: Shop, text: object) -> None:
    with pytest.raises(AforoError) as error:
        backtest_plans.parse_month(text)
    assert (error.value.code, error.value.field) == ("invalid_month", "month")
    assert backtest_plans.parse_month("2026-10") == MONTH


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"currency": "USD", "charges": [{"key": "x"}]}, "missing_key"),
        ({"currency": "USD", "charges": [{"metric": "none"}]}, "unknown_metric"),
        ({"currency": "USD", "charges": [{"metric": "a\0"}]}, "unknown_metric"),
        ({"currency": "USD", "charges": [{"metric": {}}, 3]}, "missing_key"),
        ([], "wrong_type"),
        (None, "wrong_type"),
    ],
)
def test_an_incomplete_plan_is_refused_with_its_place(
    shop: Shop, body: object, code: str
) -> None:
    with pytest.raises(AforoError) as error:
        backtest_plans.frozen_body(body, shop.tenant.pk, number=0)
    assert (error.value.code, error.value.status) == (code, 422)
    assert error.value.field == "plans[0]"


def test_another_tenants_backtests_are_not_seen(shop: Shop) -> None:
    made = ask(shop)
    stranger = make_shop()
    with tenancy.as_web(tenant_id=stranger.tenant.pk):
        assert not Backtest.objects.filter(pk=made.pk).exists()
        assert not BacktestRow.objects.exists()
    with tenancy.as_web(tenant_id=shop.tenant.pk):
        assert Backtest.objects.filter(pk=made.pk).exists()
        assert BacktestRow.objects.count() == 3


def test_a_row_cannot_name_another_tenants_customer(shop: Shop) -> None:
    made = ask(shop)
    foreign = make_shop().customer
    with pytest.raises(IntegrityError, match="same_tenant"):
        BacktestRow.objects.create(tenant=shop.tenant, backtest=made, customer=foreign)
