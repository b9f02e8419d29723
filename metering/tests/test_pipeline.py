"""From stored events to the books, on a real database."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from aforo.lib import clock
from aforo.lib.models import AppendOnlyError
from aforo.management.commands.verify import breaks
from billing import subscriptions, wallets
from billing.models import CustomerBooks, LedgerBatch, LedgerEntry, UsageTotal
from catalog import products
from catalog.leaves import token_leaves
from catalog.models import Metric, ProductType
from metering import claims, pipeline, sessions, unrateable
from metering.models import (
    CostFact,
    PendingEvents,
    Session,
    Unrateable,
    UsageRollup,
)
from tests.factories import add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def test_an_event_becomes_one_entry_with_its_charges() -> None:
    shop = make_shop()
    event = store_event(shop, {"input_tokens": 2400, "output_tokens": 150})
    assert pipeline.rate() == 1
    entry = LedgerEntry.objects.get(event_id=event.id)
    assert entry.amount == Decimal("0.00945")
    assert dict(zip(entry.charge_keys, entry.amounts, strict=True)) == {
        "input": Decimal("0.0072"),
        "output": Decimal("0.00225"),
    }
    assert entry.subscription == shop.subscription
    assert entry.usage_period == entry.billing_period
    assert not PendingEvents.objects.exists()
    assert_clean()


def test_a_second_run_changes_nothing() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 10})
    pipeline.rate()
    before = CustomerBooks.objects.get(customer=shop.customer)
    assert pipeline.rate() == 0
    after = CustomerBooks.objects.get(customer=shop.customer)
    assert (after.version, after.head) == (before.version, before.head)


def test_a_tier_is_crossed_inside_a_batch_and_across_batches() -> None:
    shop = make_shop()
    for _ in range(2):
        store_event(shop, {"output_tokens": 400_000})
        store_event(shop, {"output_tokens": 400_000})
        pipeline.rate()
    total = UsageTotal.objects.get(subscription=shop.subscription)
    # 1M at $15 and 0.6M at $12 per million.
    assert total.spend == Decimal("22.2")
    assert total.event_count == 4
    assert total.token_count == 1_600_000
    assert_clean()


def test_cost_is_taken_at_the_rate_of_the_events_own_time() -> None:
    shop = make_shop()
    for unit, amount in (
        ("input_uncached_tokens", "0.0000025"),
        ("cache_read_tokens", "0.00000125"),
        ("output_tokens", "0.00001"),
    ):
        add_cost(shop.tenant, model="gpt-4o", unit=unit, amount=amount)
    event = store_event(
        shop,
        {"input_tokens": 1500, "cache_read_tokens": 500, "output_tokens": 800},
        properties={"model": "gpt-4o"},
    )
    pipeline.rate()
    fact = CostFact.objects.get(event=event)
    assert fact.amount == Decimal("0.011125")
    assert [line[:2] for line in fact.lines] == [
        ("cache_read_tokens", Decimal(500)),
        ("input_uncached_tokens", Decimal(1000)),
        ("output_tokens", Decimal(800)),
    ]
    assert UsageTotal.objects.get().cost == Decimal("0.011125")
    assert_clean()


def test_an_unknown_cost_is_null_and_never_zero() -> None:
    shop = make_shop()
    event = store_event(shop, {"input_tokens": 5}, properties={"model": "mystery-1"})
    pipeline.rate()
    fact = CostFact.objects.get(event=event)
    assert fact.amount is None
    assert "mystery-1 input_uncached_tokens" in fact.unknown
    assert UsageTotal.objects.get().cost_unknown_count == 1
    assert UsageRollup.objects.get().cost_unknown_count == 1
    assert_clean()


def test_token_leaves_are_disjoint() -> None:
    leaves = token_leaves(
        {
            "input_tokens": Decimal(100),
            "cache_read_tokens": Decimal(60),
            "cache_write_tokens": Decimal(40),
        }
    )
    assert dict(leaves) == {
        "cache_read_tokens": Decimal(60),
        "cache_write_tokens": Decimal(40),
    }


@pytest.mark.parametrize(
    ("measurements", "reason"),
    [
        ({"tool.cals": 3}, "unknown_metric"),
        ({"input_tokens": 5, "cache_read_tokens": 9}, "inconsistent_measurements"),
        (
            {"input_tokens": 5, "output_tokens": 2, "total_tokens": 8},
            "inconsistent_measurements",
        ),
    ],
)
def test_what_cannot_be_priced_is_listed_with_its_reason(
    measurements: dict[str, int], reason: str
) -> None:
    shop = make_shop()
    event = store_event(shop, measurements)
    pipeline.rate()
    listed = Unrateable.objects.get(event=event)
    assert (listed.reason, listed.resolved_at) == (reason, None)
    assert not LedgerEntry.objects.filter(event_id=event.id).exists()
    assert_clean()


def test_a_listed_event_is_costed_and_counted_as_it_was_sent() -> None:
    # As docs/events.md says: it was served, whatever its figures are worth.
    shop = make_shop()
    rates = {"input_uncached_tokens": "0.0000025", "cache_read_tokens": "0.00000125"}
    for unit, amount in rates.items():
        add_cost(shop.tenant, model="gpt-4o", unit=unit, amount=amount)
    event = store_event(
        shop,
        {"input_tokens": 100, "cache_read_tokens": 900},
        properties={"model": "gpt-4o"},
        session_key="s-1",
    )
    pipeline.rate()
    assert Unrateable.objects.get(event=event).reason == "inconsistent_measurements"
    fact = CostFact.objects.get(event=event)
    assert [line[:2] for line in fact.lines] == [("cache_read_tokens", Decimal(900))]
    session = Session.objects.get()
    assert (session.input_tokens, session.price) == (100, 0)
    assert session.cost == fact.amount == Decimal("0.001125")
    assert_clean()


def test_usage_before_the_subscription_is_listed() -> None:
    shop = make_shop(since=clock.now() - dt.timedelta(days=1))
    store_event(shop, {"input_tokens": 5}, at=clock.now() - dt.timedelta(days=3))
    pipeline.rate()
    assert Unrateable.objects.get().reason == "no_subscription"
    assert_clean()


def test_usage_while_paused_is_listed_and_priced_after_the_pause() -> None:
    shop = make_shop()
    subscriptions.pause(subscription=shop.subscription, actor=shop.owner)
    store_event(shop, {"input_tokens": 1_000_000})
    pipeline.rate()
    listed = Unrateable.objects.get()
    assert listed.reason == "no_subscription"
    shop.subscription.refresh_from_db()
    subscriptions.resume(subscription=shop.subscription, actor=shop.owner)
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    assert_clean()


def test_two_products_and_none_named_is_ambiguous() -> None:
    shop = make_shop()
    other = products.create_product(
        tenant=shop.tenant,
        name="Search",
        code="search",
        type=ProductType.STANDARD_API,
        actor=shop.owner,
    )
    subscriptions.subscribe(
        customer=shop.customer,
        product=other,
        plan_version=make_version(other),
        start_at=clock.now() - dt.timedelta(days=1),
        actor=shop.owner,
    )
    store_event(shop, {"input_tokens": 5}, product=None)
    pipeline.rate()
    assert Unrateable.objects.get().reason == "ambiguous_product"


def test_a_listed_event_is_priced_once_after_the_fix() -> None:
    shop = make_shop()
    store_event(shop, {"reviews": 2, "input_tokens": 1_000_000}, session_key="s-1")
    pipeline.rate()
    listed = Unrateable.objects.get()
    assert "`reviews`" in listed.detail
    products.create_metric(
        tenant=shop.tenant,
        code="reviews",
        name="Reviews",
        aggregation=Metric.Aggregation.SUM,
        field="reviews",
        unit="review",
        actor=shop.owner,
    )
    assert unrateable.replay([listed.pk], actor=shop.owner) == (1, 0)
    assert unrateable.replay([listed.pk], actor=shop.owner) == (0, 0)
    assert LedgerEntry.objects.get(event_id__isnull=False).amount == 3
    session = Session.objects.get()
    assert (session.event_count, session.price) == (1, 3)
    assert_clean()


def test_a_session_counts_tools_tokens_errors_price_and_ends() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1000}, session_key="run-1")
    for status in ("SUCCESS", "FAILED"):
        store_event(
            shop,
            {"tool_calls": 1, "tool_duration_ms": 40},
            event_type="mcp.tool_invoked",
            tool_name="search",
            status=status,
            session_key="run-1",
        )
    pipeline.rate()
    store_event(shop, {}, event_type="session.completed", session_key="run-1")
    pipeline.rate()
    session = Session.objects.get()
    assert session.state == Session.State.COMPLETED
    assert session.ended_at is not None
    assert (session.tool_invocation_count, session.error_count) == (2, 1)
    assert session.total_duration_ms == 80
    assert session.price == Decimal("0.023")
    assert_clean()


def test_a_wallet_pays_until_it_is_empty() -> None:
    shop = make_shop()
    wallets.top_up(
        customer=shop.customer,
        currency="USD",
        amount=Decimal("5"),
        actor=shop.owner,
        reason="test",
    )
    store_event(shop, {"input_tokens": 1_000_000})
    pipeline.rate()
    wallet = shop.customer.wallets.get()
    assert wallet.balance == 2
    store_event(shop, {"input_tokens": 1_000_000})
    pipeline.rate()
    wallet.refresh_from_db()
    assert wallet.balance == 0
    assert_clean()


def test_a_fault_in_rating_sets_one_event_aside_and_bills_the_rest() -> None:
    shop = make_shop()
    good = store_event(shop, {"input_tokens": 1_000_000})
    # A body that no door would store: it makes the reader raise.
    bad = store_event(shop, {"input_tokens": "x"})
    pending = PendingEvents.objects.get(event_ids__contains=[bad.id])
    PendingEvents.objects.exclude(pk=pending.pk).delete()
    PendingEvents.objects.filter(pk=pending.pk).update(event_ids=[good.id, bad.id])
    for _ in range(claims.CAREFUL_FROM):
        pipeline.rate()
    assert LedgerEntry.objects.filter(event_id=good.id).count() == 1
    assert Unrateable.objects.get().event == bad
    assert Unrateable.objects.get().reason == Unrateable.Reason.QUARANTINED
    assert not PendingEvents.objects.exists()


def test_a_batch_that_kills_its_worker_gives_up_its_first_event() -> None:
    shop = make_shop()
    first = store_event(shop, {"input_tokens": 1})
    second = store_event(shop, {"input_tokens": 2})
    row = PendingEvents.objects.get(event_ids__contains=[first.id])
    PendingEvents.objects.exclude(pk=row.pk).delete()
    PendingEvents.objects.filter(pk=row.pk).update(
        event_ids=[first.id, second.id], attempts=claims.GIVE_UP_FROM - 1
    )
    pipeline.rate()
    assert Unrateable.objects.get().event == first
    assert LedgerEntry.objects.filter(event_id=second.id).exists()


def test_the_books_are_never_changed_or_deleted() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1})
    pipeline.rate()
    entry = LedgerEntry.objects.get(event_id__isnull=False)
    with pytest.raises(AppendOnlyError):
        entry.delete()
    with pytest.raises(AppendOnlyError):
        LedgerEntry.objects.all().update(amount=0)
    # Deferred checks of this very transaction would refuse a TRUNCATE first.
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for statement in (
        "UPDATE billing_ledgerentry SET amount = 0",
        "DELETE FROM billing_ledgerentry",
        "TRUNCATE billing_ledgerentry CASCADE",
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            connection.cursor().execute(statement)


def test_a_touched_entry_breaks_the_chain_and_is_named() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1_000_000})
    pipeline.rate()
    entry = LedgerEntry.objects.get(event_id__isnull=False)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE billing_ledgerentry SET amount = 4, amounts = '4' WHERE id = %s",
            [entry.id],
        )
        cursor.execute("ALTER TABLE billing_ledgerentry ENABLE TRIGGER USER")
    found = breaks()
    assert any(str(entry.id) in text for text in found["I-4"])
    assert found["I-5"]
    assert found["I-5b"]


def test_each_batch_is_chained_to_the_one_before() -> None:
    shop = make_shop()
    for _ in range(3):
        store_event(shop, {"input_tokens": 1})
        pipeline.rate()
    batches = list(
        LedgerBatch.objects.filter(customer=shop.customer).order_by("version")
    )
    assert [b.previous for b in batches[1:]] == [b.digest for b in batches[:-1]]
    books = CustomerBooks.objects.get(customer=shop.customer)
    assert books.head == batches[-1].digest


def test_an_expired_session_that_goes_on_is_no_longer_ended() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, session_key="run-2")
    pipeline.rate()
    with clock.travel(clock.now() + dt.timedelta(hours=2)):
        assert sessions.expire(clock.now()) == 1
    session = Session.objects.get()
    assert session.state == Session.State.EXPIRED
    assert session.ended_at is not None
    store_event(shop, {"input_tokens": 1}, session_key="run-2")
    pipeline.rate()
    assert Session.objects.filter(state="active", ended_at=None).count() == 1


def test_a_completed_session_stays_ended_when_an_event_comes_late() -> None:
    shop = make_shop()
    store_event(shop, {}, event_type="session.completed", session_key="run-3")
    pipeline.rate()
    ended_at = Session.objects.get().ended_at
    store_event(shop, {"input_tokens": 1}, session_key="run-3")
    pipeline.rate()
    session = Session.objects.get()
    assert (session.state, session.ended_at) == (Session.State.COMPLETED, ended_at)
    assert session.event_count == 2


def test_an_event_notes_when_the_key_that_it_names_was_used() -> None:
    shop = make_shop()
    at = clock.now() - dt.timedelta(minutes=5)
    store_event(shop, {"input_tokens": 1}, at=at - dt.timedelta(minutes=3))
    store_event(shop, {"input_tokens": 1}, at=at)
    store_event(shop, {"input_tokens": 1}, credential=None)
    pipeline.rate()
    shop.credential.refresh_from_db()
    assert shop.credential.last_used_at == at
