"""Events that are taken back: everything follows, and nothing twice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.management.commands.verify import breaks
from billing import wallets
from billing.models import GroupTotal, LedgerEntry, UsageTotal, Wallet
from billing.tests.cast import DAY, DECEMBER, HOUR, NOVEMBER, OCTOBER, close_month
from metering import pipeline, settling, unrateable, voiding
from metering.models import (
    CostFact,
    EventVoid,
    PendingEvents,
    Session,
    Unrateable,
    UsageEvent,
    UsageRollup,
)
from metering.tests.test_settling import PENALTY, body, call, end
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db
Kind = LedgerEntry.Kind


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


def spend(shop: Shop) -> Decimal:
    """Return what the counter row says."""
    return UsageTotal.objects.get(subscription=shop.subscription).spend


GRADUATED = {
    "currency": "USD",
    "charges": [
        {
            "key": "tokens",
            "name": "Tokens",
            "metric": "input_tokens",
            "price": {
                "model": "graduated",
                "tiers": [
                    {"up_to": "100", "unit_amount": "1"},
                    {"up_to": None, "unit_amount": "0.5"},
                ],
            },
        }
    ],
}


def test_a_void_mirrors_the_entry_and_reprices_what_came_after() -> None:
    shop = make_shop(body=GRADUATED)
    first = store_event(shop, {"input_tokens": 80}, session_key="s")
    store_event(shop, {"input_tokens": 80}, session_key="s")
    pipeline.rate()
    assert spend(shop) == 130
    done = voiding.void(first, reason="sent twice by the gateway", actor=shop.owner)
    assert (done.is_new, done.void.was, done.void.amount) == (True, "rated", -50)
    reversal, reprice = LedgerEntry.objects.filter(
        kind__in=[Kind.REVERSAL, Kind.REPRICE]
    ).order_by("id")
    assert reversal.reverses is not None
    assert (reversal.amount, reversal.reverses.event_id) == (-80, first.pk)
    # The second event's 80 tokens are the first 80 now: 60 of them cost twice.
    assert (reprice.amount, reprice.charge_keys) == (30, ["tokens"])
    total = UsageTotal.objects.get(subscription=shop.subscription)
    assert (total.spend, total.event_count, total.token_count) == (80, 1, 80)
    session = Session.objects.get()
    assert (session.event_count, session.input_tokens, session.price) == (1, 80, 80)
    rollup = UsageRollup.objects.get()
    assert (rollup.event_count, rollup.input_tokens, rollup.revenue) == (1, 80, 80)
    assert_clean()


def test_voiding_twice_changes_nothing_and_says_so() -> None:
    shop = make_shop()
    event = store_event(shop, {"input_tokens": 5})
    pipeline.rate()
    first = voiding.void(event, reason="wrong", actor=None)
    before = LedgerEntry.objects.count(), spend(shop)
    again = voiding.void(event, reason="wrong again", actor=None)
    assert (again.is_new, again.void.pk) == (False, first.void.pk)
    assert again.void.reason == "wrong"
    assert (LedgerEntry.objects.count(), spend(shop)) == before
    pipeline.rate()
    assert_clean()


def test_a_void_needs_a_reason() -> None:
    shop = make_shop()
    event = store_event(shop, {"input_tokens": 5})
    with pytest.raises(AforoError) as refused:
        voiding.void(event, reason="  ")
    assert refused.value.code == "reason_required"


def test_a_pending_event_is_never_rated() -> None:
    shop = make_shop()
    event = store_event(shop, {"input_tokens": 5}, request_id="r-1")
    assert voiding.void(event, reason="wrong").void.was == "pending"
    assert not PendingEvents.objects.exists()
    assert pipeline.rate() == 0
    assert not LedgerEntry.objects.exclude(kind=Kind.RECURRING).exists()
    assert_clean()


def test_an_event_without_a_price_is_counted_no_more() -> None:
    shop = make_shop()
    event = store_event(shop, {"riddles": 1, "input_tokens": 4}, session_key="s")
    store_event(shop, {"input_tokens": 1}, session_key="s")
    pipeline.rate()
    listed = Unrateable.objects.get()
    assert voiding.void(event, reason="wrong").void.was == "unrateable"
    assert unrateable.replay([listed.pk], actor=None) == (0, 0)
    session = Session.objects.get()
    assert (session.event_count, session.input_tokens) == (1, 1)
    assert sum(r.event_count for r in UsageRollup.objects.all()) == 1
    assert_clean()


def test_costs_are_taken_back_by_a_fact_of_their_own() -> None:
    shop = make_shop()
    add_cost(shop.tenant, model="m", unit="input_uncached_tokens", amount="0.5")
    event = store_event(shop, {"input_tokens": 4}, properties={"model": "m"})
    store_event(shop, {"input_tokens": 1}, properties={"model": "m"})
    pipeline.rate()
    voiding.void(event, reason="wrong")
    facts = CostFact.objects.filter(event=event).order_by("id")
    assert [(f.kind, f.amount) for f in facts] == [("original", 2), ("delta", -2)]
    assert UsageRollup.objects.get().cost == Decimal("0.5")
    total = UsageTotal.objects.get(subscription=shop.subscription)
    assert total.cost == Decimal("0.5")
    assert_clean()


def test_money_returns_to_the_newest_burns() -> None:
    shop = make_shop(body=GRADUATED)
    for amount in ("30", "100"):
        wallets.top_up(
            customer=shop.customer, currency="USD", amount=Decimal(amount), actor=None
        )
    store_event(shop, {"input_tokens": 20})
    event = store_event(shop, {"input_tokens": 40})
    pipeline.rate()
    wallet = Wallet.objects.get()
    assert wallet.balance == 70
    done = voiding.void(event, reason="wrong")
    wallet.refresh_from_db()
    assert done.returned == 40
    assert wallet.balance == 110
    left = wallet.grants.order_by("id").values_list("remaining", flat=True)
    assert list(left) == [10, 100]
    assert_clean()


def test_an_expired_lot_that_gets_something_back_expires_at_once() -> None:
    shop = make_shop(body=GRADUATED)
    wallets.top_up(
        customer=shop.customer,
        currency="USD",
        amount=Decimal(50),
        actor=None,
        expires_at=clock.now() + dt.timedelta(hours=1),
    )
    event = store_event(shop, {"input_tokens": 40})
    pipeline.rate()
    with clock.travel(clock.now() + dt.timedelta(hours=2)):
        voiding.void(event, reason="wrong")
        assert Wallet.objects.get().balance == 0
        assert_clean()


def test_a_session_keeps_its_fee_until_its_last_event_is_void() -> None:
    shop = make_shop(
        body=body(
            base_session_fee="5", included_tool_count=2, tool_invocations={"*": "0.05"}
        )
    )
    events = []
    for _ in range(3):
        call(shop, "s")
        pipeline.rate()
    events = list(UsageEvent.objects.order_by("id"))
    assert spend(shop) == Decimal("5.05")
    # The first two are within the fee: without one of them so is the third.
    voiding.void(events[0], reason="wrong")
    assert spend(shop) == 5
    assert_clean()
    for event in events[1:]:
        voiding.void(event, reason="wrong")
    assert spend(shop) == 0
    assert not GroupTotal.objects.exists()
    assert Session.objects.get().event_count == 0
    assert_clean()


def test_a_penalty_that_was_settled_follows_its_session() -> None:
    shop = make_shop(body=PENALTY)
    for number in range(20):
        call(shop, "s", "FAILED" if number < 2 else "SUCCESS")
    end(shop, "s")
    pipeline.rate()
    settling.settle()
    assert spend(shop) == 3
    failed = UsageEvent.objects.filter(status="FAILED").first()
    assert failed is not None
    # One failure in 19 is still more than 5 %.
    voiding.void(failed, reason="our own outage")
    assert spend(shop) == Decimal("2.85")
    other = UsageEvent.objects.filter(status="FAILED").last()
    assert other is not None
    voiding.void(other, reason="our own outage")
    assert spend(shop) == Decimal("1.8")
    assert Session.objects.get().error_count == 0
    assert Session.objects.get().price == Decimal("1.8")
    assert_clean()


def test_the_void_of_an_end_lets_the_session_go_on() -> None:
    shop = make_shop()
    store_event(shop, {"input_tokens": 1}, session_key="s")
    last = store_event(shop, {}, event_type="session.failed", session_key="s")
    pipeline.rate()
    assert Session.objects.get().state == "failed"
    voiding.void(last, reason="it went on")
    session = Session.objects.get()
    assert (session.state, session.ended_at, session.event_count) == ("active", None, 1)
    assert_clean()


def test_an_outcome_is_taken_back_with_a_piece_of_it() -> None:
    charge: dict[str, Any] = {
        "key": "review",
        "name": "Contract reviewed",
        "price": {
            "model": "compound",
            "outcome": {
                "all": [
                    {"event_type": "doc.parsed"},
                    {"event_type": "llm.completion", "at_least": 2},
                ]
            },
            "price": {"model": "per_unit", "unit_amount": "0.85"},
            "absorbs": ["input_tokens"],
        },
    }
    shop = make_shop(body={"currency": "USD", "charges": [charge]})
    events = [
        store_event(shop, {"input_tokens": 9}, event_type=kind, correlation_id="c")
        for kind in ("doc.parsed", "llm.completion", "llm.completion")
    ]
    pipeline.rate()
    assert spend(shop) == Decimal("0.85")
    voiding.void(events[0], reason="wrong")
    assert spend(shop) == 0
    assert_clean()
    store_event(shop, {}, event_type="doc.parsed", correlation_id="c")
    pipeline.rate()
    assert spend(shop) == Decimal("0.85")
    assert_clean()


def test_a_trial_shows_the_effect_and_leaves_no_trace() -> None:
    shop = make_shop(body=GRADUATED)
    event = store_event(shop, {"input_tokens": 7})
    pipeline.rate()
    found = voiding.trial(event)
    assert found.void.amount == -7
    assert not EventVoid.objects.exists()
    assert spend(shop) == 7
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_an_issued_invoice_stays_and_the_next_one_carries_the_adjustment() -> None:
    with clock.travel(OCTOBER):
        shop = make_shop(body=GRADUATED, since=OCTOBER)
    with clock.travel(OCTOBER + 3 * DAY):
        at = OCTOBER + 2 * DAY
        event = store_event(shop, {"input_tokens": 80}, at=at)
        store_event(shop, {"input_tokens": 80}, at=at)
        pipeline.rate()
    (october,) = close_month(NOVEMBER)
    with clock.travel(NOVEMBER + DAY):
        store_event(shop, {"input_tokens": 70}, at=clock.now())
        pipeline.rate()
        done = voiding.void(event, reason="sent twice")
        assert done.void.amount == -50
        assert_clean()
    (november,) = close_month(DECEMBER)
    with clock.travel(DECEMBER + HOUR):
        assert_clean()
    october.refresh_from_db()
    assert (october.subtotal, november.subtotal) == (130, 20)
    lines = november.lines.values_list("usage_period__start_at", "amount")
    found = dict(lines.order_by("amount"))
    assert found == {OCTOBER: Decimal(-50), None: Decimal(70)}
