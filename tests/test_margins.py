"""Margins from events to the edge: figures, levels, history, release."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import redis

from aforo.core.models import AuditEntry, FxRate
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from aforo.management.commands.verify import breaks
from billing import accounts, subscriptions
from billing.models import Agent, AgentTotal
from catalog import cost_rates
from guard import margin, projection
from guard.engine.check import check
from guard.engine.decision import CheckRequest, Decision
from guard.margin import figures
from guard.models import Level, MarginChange, MarginLevel, Scope
from metering import pipeline, recosting, voiding
from metering.models import UsageEvent
from tests.factories import Shop, add_cost, make_shop, make_version, store_event

pytestmark = pytest.mark.django_db

CALLS: dict[str, Any] = {
    "key": "calls",
    "name": "Calls",
    "metric": "tool_calls",
    "price": {"model": "per_unit", "unit_amount": "0.10"},
}
BODY = {"currency": "USD", "charges": [CALLS]}
LIMITS = {"throttle_model": "gpt-4o-mini"}
# Of gpt-4o a token costs a cent: 10 calls earn a dollar, 100 tokens cost one.
MODEL = {"model": "gpt-4o"}


@pytest.fixture
def shop(store: redis.Redis) -> Shop:
    made = make_shop(body=BODY, limits=LIMITS)
    add_cost(made.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    return made


def use(shop: Shop, calls: int, tokens: int, **more: Any) -> None:
    """Use, rate, and tell the edge what the worker tells it after its commit."""
    store_event(
        shop, {"tool_calls": calls, "output_tokens": tokens}, properties=MODEL, **more
    )
    rate(shop)


def rate(shop: Shop) -> None:
    pipeline.rate()
    projection.project_customers([shop.customer.pk], config=True)


def ask(store: redis.Redis, shop: Shop) -> Decision:
    request = CheckRequest(
        tag=shop.customer.tag,
        request_id=str(ids.new_id()),
        decision_id="dec_1",
        digest=shop.credential.digest,
    )
    decision = check(store, request)
    assert isinstance(decision, Decision)
    return decision


def verdict(store: redis.Redis, shop: Shop) -> str:
    decision = ask(store, shop)
    return str(decision.reason or decision.outcome)


def levels(shop: Shop) -> dict[str, str]:
    rows = MarginLevel.objects.filter(customer_id=shop.customer.pk)
    return dict(rows.values_list("scope", "level"))


def history(shop: Shop, scope: Scope = Scope.SUBSCRIPTION) -> list[tuple[str, str]]:
    rows = MarginChange.objects.filter(customer_id=shop.customer.pk, scope=scope)
    return list(rows.order_by("id").values_list("before", "level"))


def test_a_loop_warns_then_throttles_then_blocks(
    store: redis.Redis, shop: Shop
) -> None:
    use(shop, 100, 500)  # $10 and $5.
    assert verdict(store, shop) == "allow"
    assert levels(shop) == {}
    use(shop, 0, 310)  # 19 %
    assert ask(store, shop).facts.margin_level == "warn"  # type: ignore[union-attr]
    assert verdict(store, shop) == "allow"
    use(shop, 0, 100)  # 9 %
    decision = ask(store, shop)
    assert decision.reason == "margin.subscription.period"
    assert decision.outcome == "throttle"
    use(shop, 0, 91)  # −0.1 %
    decision = ask(store, shop)
    assert decision.outcome == "deny"
    assert decision.retry_at_ms == decision.now_ms + 60_000
    assert history(shop) == [
        ("ok", "warn"),
        ("warn", "throttle"),
        ("throttle", "block"),
    ]
    assert levels(shop) == dict.fromkeys(("subscription", "customer", "agent"), "block")


def test_history_audit_and_level_say_the_same_figures(shop: Shop) -> None:
    use(shop, 100, 850)
    change = MarginChange.objects.get(scope=Scope.SUBSCRIPTION)
    level = MarginLevel.objects.get(scope=Scope.SUBSCRIPTION)
    wanted = (Decimal(10), Decimal("8.5"), Decimal(15), "USD", "warn")
    for row in (change, level):
        told = (row.revenue, row.cogs, row.margin, row.currency, row.level)
        assert told == wanted
    entry = shop.customer.ledger.get()
    assert (change.event_id, change.version) == (entry.event_id, entry.version)
    entered = AuditEntry.objects.get(
        action="margin.level_changed", object_id=shop.subscription.public_id
    )
    assert entered.changes["level"] == ["ok", "warn"]
    assert entered.changes["margin"] == [None, "15 %"]
    assert entered.changes["cogs"] == [None, "8.5 USD"]
    assert entered.changes["event"] == [None, str(entry.event_id)]


def test_a_level_is_written_once_however_often_it_is_judged(shop: Shop) -> None:
    use(shop, 100, 850)
    assert margin.relevel([shop.customer.pk]) == 0
    assert len(history(shop)) == 1


def test_a_level_eases_two_points_above_its_line(
    store: redis.Redis, shop: Shop
) -> None:
    use(shop, 100, 1_001)
    assert verdict(store, shop) == "margin.subscription.period"
    use(shop, 1, 0)  # 0.9 %: still blocked.
    assert ask(store, shop).outcome == "deny"
    use(shop, 3, 0)  # 3.8 %
    assert ask(store, shop).outcome == "throttle"
    use(shop, 100, 0)
    assert ask(store, shop).outcome == "allow"
    assert history(shop)[1:] == [("block", "throttle"), ("throttle", "ok")]


def test_a_price_rise_levels_again_at_once(store: redis.Redis, shop: Shop) -> None:
    use(shop, 100, 500)
    cost_rates.add_rate(
        tenant=shop.tenant,
        provider="test",
        model="gpt-4o",
        unit="output_tokens",
        amount=Decimal("0.03"),
        currency="USD",
        valid_from=clock.now() - dt.timedelta(days=1),
        actor=None,
    )
    events = list(UsageEvent.objects.values_list("pk", flat=True))
    recosting.recost(shop.customer.pk, events, frozenset())
    projection.project_customers([shop.customer.pk])
    assert verdict(store, shop) == "margin.subscription.period"
    change = MarginChange.objects.get(scope=Scope.SUBSCRIPTION)
    assert (change.cogs, change.margin) == (Decimal(15), Decimal(-50))
    assert not {k: v for k, v in breaks().items() if v}


def test_a_void_ends_a_block(store: redis.Redis, shop: Shop) -> None:
    use(shop, 100, 100)
    event = store_event(shop, {"output_tokens": 5_000}, properties=MODEL)
    rate(shop)
    assert verdict(store, shop) == "margin.subscription.period"
    voiding.void(event, reason="a loop")
    projection.project_customers([shop.customer.pk])
    assert verdict(store, shop) == "allow"
    assert not {k: v for k, v in breaks().items() if v}


def test_fees_and_minimums_are_revenue_from_the_first_second(
    store: redis.Redis,
) -> None:
    price = {"model": "flat", "amount": "50", "due": "arrears"}
    fee = {"key": "fee", "name": "Fee", "price": price}
    shop = make_shop(body=BODY | {"charges": [CALLS, fee], "minimum": "80"})
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    use(shop, 0, 6_000)  # $60 of $80.
    assert verdict(store, shop) == "allow"
    # One agent did it all: it is held to the whole contract's revenue.
    use(shop, 0, 1_000)
    found = MarginChange.objects.filter(level=Level.WARN)
    assert {(row.scope, row.revenue, row.margin) for row in found} == {
        (scope, Decimal(80), Decimal("12.5"))
        for scope in ("subscription", "customer", "agent")
    }


def test_an_agents_revenue_is_its_quantity_at_the_average_price(
    store: redis.Redis,
) -> None:
    volume = {
        "model": "volume",
        "tiers": [
            {"up_to": "100", "unit_amount": "1"},
            {"up_to": None, "unit_amount": "0.5"},
        ],
    }
    shop = make_shop(body={"currency": "USD", "charges": [CALLS | {"price": volume}]})
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    other = accounts.create_agent(
        team=shop.team, name="Other", kind=Agent.Kind.APP, actor=None
    )
    use(shop, 100, 100)
    # Its own entry is 120 × 0.5 − 100 × 1: what the price fell by is not its doing.
    use(shop, 20, 100, agent=other)
    [(_, found)] = figures.of_customers([shop.customer.pk])
    earned = {s.subject: s.figures.revenue for s in found if s.subject.scope == "agent"}
    assert sorted(earned.values()) == [10, 50]


def test_usage_without_a_price_costs_its_customer(
    store: redis.Redis, shop: Shop
) -> None:
    use(shop, 100, 100)
    store_event(shop, {"unheard_of": 1, "output_tokens": 2_000}, properties=MODEL)
    rate(shop)
    assert levels(shop) == {"customer": "block", "agent": "block"}
    assert verdict(store, shop) == "margin.customer.period"


def test_a_missing_rate_of_exchange_is_unknown_and_shown(
    store: redis.Redis, shop: Shop
) -> None:
    cost_rates.add_rate(
        tenant=shop.tenant,
        provider="test",
        model="mistral",
        unit="output_tokens",
        amount=Decimal("1"),
        currency="EUR",
        valid_from=clock.now() - dt.timedelta(days=1),
        actor=None,
    )
    store_event(
        shop, {"tool_calls": 1, "output_tokens": 5}, properties={"model": "mistral"}
    )
    rate(shop)
    assert verdict(store, shop) == "allow"
    assert levels(shop)["subscription"] == "unknown"
    row = MarginLevel.objects.get(scope=Scope.SUBSCRIPTION)
    assert row.cost_unknown_count == 1


def test_other_currencies_are_brought_into_the_customers(
    store: redis.Redis,
) -> None:
    shop = make_shop(body=BODY | {"currency": "EUR"})
    FxRate.objects.create(
        tenant=shop.tenant,
        base="EUR",
        quote="USD",
        rate=Decimal("1.25"),
        valid_from=clock.now() - dt.timedelta(days=400),
    )
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    use(shop, 100, 1_000)  # €10 are $12.50; $10 are €8.
    [(_, found)] = figures.of_customers([shop.customer.pk])
    told = {str(s.subject.scope): (s.figures.revenue, s.currency) for s in found}
    assert told["subscription"] == (Decimal(10), "EUR")
    assert told["customer"] == told["agent"] == (Decimal("12.5"), "USD")


def test_a_customers_own_lines_go_before_the_plans(
    store: redis.Redis, shop: Shop
) -> None:
    use(shop, 100, 1_500)
    assert verdict(store, shop) == "margin.subscription.period"
    subscriptions.change_plan(
        subscription=shop.subscription,
        plan_version=shop.version,
        at=clock.now() + dt.timedelta(seconds=1),
        actor=None,
        overrides={"limits": {"margin": {"block": "-100", "throttle": "-100"}}},
    )
    with clock.travel(clock.now() + dt.timedelta(seconds=2)):
        projection.project_customers([shop.customer.pk])
        assert levels(shop)["subscription"] == "warn"


def test_lines_that_nobody_could_keep_are_refused(shop: Shop) -> None:
    ladders: list[Any] = [
        {"warn": 20},
        {"warn": "5", "block": "10"},
        {"scopes": ["galaxy"]},
        {"stop": "1"},
        {"minimum_cogs": "-1"},
        [],
    ]
    for ladder in ladders:
        with pytest.raises(AforoError, match="invalid_limits"):
            make_version(shop.product, BODY, {"margin": ladder})
        with pytest.raises(AforoError, match="invalid_limits"):
            subscriptions.change_plan(
                subscription=shop.subscription,
                plan_version=shop.version,
                at=clock.now(),
                actor=None,
                overrides={"limits": {"margin": ladder}},
            )


def test_a_release_lets_calls_pass_for_a_while(store: redis.Redis, shop: Shop) -> None:
    use(shop, 10, 1_000)
    assert ask(store, shop).outcome == "deny"
    with pytest.raises(AforoError, match="invalid_minutes"):
        margin.release(shop.customer, minutes=0)
    made = margin.release(shop.customer, "", 60, shop.owner, reason="they will pay")
    projection.project_customers([shop.customer.pk], config=False)
    assert len(made) == 3
    decision = ask(store, shop)
    assert decision.outcome == "allow"
    assert decision.facts is not None
    assert decision.facts.margin_level == "warn"
    entry = AuditEntry.objects.get(action="margin.released")
    assert (entry.actor, entry.reason) == (shop.owner, "they will pay")
    row = MarginLevel.objects.get(scope=Scope.CUSTOMER)
    assert row.released_until is not None
    left = row.released_until - clock.now()
    assert dt.timedelta(minutes=59) < left <= dt.timedelta(minutes=60)
    # More usage at the same level does not take it back.
    use(shop, 0, 10)
    assert ask(store, shop).outcome == "allow"


def test_what_is_not_blocked_cannot_be_released(shop: Shop) -> None:
    with pytest.raises(AforoError, match="not_blocked"):
        margin.release(shop.customer)


def test_a_block_ends_with_its_period(store: redis.Redis, shop: Shop) -> None:
    use(shop, 10, 1_000)
    next_month = clock.now() + dt.timedelta(days=32)
    with clock.travel(next_month):
        from billing import periods
        from guard.margin import record

        periods.period_at(shop.customer.pk, clock.now())
        assert record.ended(clock.now()) == [shop.customer.pk]
        projection.project_customers([shop.customer.pk], config=False)
        assert set(levels(shop).values()) == {"ok"}
        assert record.ended(clock.now()) == []


def test_a_product_is_judged_and_binds_where_the_plan_says(
    store: redis.Redis,
) -> None:
    scopes = {"margin": {"scopes": ["product"]}}
    shop = make_shop(body=BODY, limits=scopes)
    add_cost(shop.tenant, model="gpt-4o", unit="output_tokens", amount="0.01")
    use(shop, 10, 1_000)
    assert verdict(store, shop) == "allow"
    assert margin.relevel_products(clock.now()) == [shop.product.pk]
    assert margin.relevel_products(clock.now()) == []
    projection.project_customers([shop.customer.pk], config=False)
    assert verdict(store, shop) == "margin.product.period"


def test_verify_finds_a_level_that_the_facts_do_not_come_to(shop: Shop) -> None:
    use(shop, 100, 850)
    assert not {k: v for k, v in breaks().items() if v}
    MarginLevel.objects.filter(scope=Scope.SUBSCRIPTION).update(level=Level.BLOCK)
    (said,) = breaks()["I-46"]
    assert "block is kept, revenue 10 and cost 8.5 come to warn" in said


def test_verify_finds_counters_of_agents_that_are_off(shop: Shop) -> None:
    use(shop, 100, 10)
    AgentTotal.objects.filter(subscription=None).update(cost=7)
    assert breaks()["I-45"]


def test_a_rebuilt_edge_has_the_kept_levels(store: redis.Redis, shop: Shop) -> None:
    use(shop, 10, 1_000)
    store.flushdb()
    projection.rebuild_all()
    assert verdict(store, shop) == "margin.subscription.period"
    # What was rated while the edge was away is judged with it.
    store_event(shop, {"tool_calls": 1_000})
    pipeline.rate()
    store.flushdb()
    projection.rebuild_all()
    assert verdict(store, shop) == "allow"
