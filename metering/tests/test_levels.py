"""Spend levels that change prices, from events to the books, verified and replayed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.management.commands.verify import breaks
from billing import preview, subscriptions, wallets
from billing.models import CreditGrant, LedgerEntry, UsageTotal
from catalog.plans import load_plans
from metering import backtest, pipeline, repricing, settling
from metering.tests.conftest import BareDoor
from tests.factories import Shop, make_shop, make_version, store_event

OCTOBER = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)
NOVEMBER = dt.datetime(2026, 11, 10, 12, tzinfo=dt.UTC)
LEVELS: list[dict[str, Any]] = [
    {"key": "free", "name": "Free"},
    {"key": "build", "name": "Build", "credits_from": "5"},
    {"key": "scale", "name": "Scale", "spend_from": "50"},
    {"key": "enterprise", "name": "Enterprise"},
]


def charge(key: str, amount: str, *levels: str) -> dict[str, Any]:
    """Return a charge on tool calls, perhaps for some levels only."""
    row: dict[str, Any] = {
        "key": key,
        "name": key.title(),
        "metric": "tool_calls",
        "price": {"model": "per_unit", "unit_amount": amount},
    }
    return row | ({"filter": {"spend_level": list(levels)}} if levels else {})


BODY = {
    "currency": "USD",
    "levels": LEVELS,
    "charges": [
        charge("list", "1"),
        charge("build", "0.80", "build"),
        charge("scale", "0.50", "scale"),
        charge("enterprise", "0.25", "enterprise"),
    ],
}


@pytest.fixture(autouse=True)
def october() -> Iterator[None]:
    """It is the middle of October."""
    with clock.travel(OCTOBER):
        yield


def use(shop: Shop, *calls: str, **more: Any) -> None:
    """Store events and rate them in one batch."""
    for text in calls:
        store_event(shop, {"tool_calls": text}, **more)
    pipeline.rate()


def booked() -> list[tuple[str | None, Decimal]]:
    """Return level and amount of each event's entry, in the order of rating."""
    entries = LedgerEntry.objects.filter(kind="usage").order_by("id")
    return list(entries.values_list("spend_level", "amount"))


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


@pytest.mark.django_db
def test_a_level_is_reached_inside_a_batch_and_goes_on_in_the_next() -> None:
    shop = make_shop(body=BODY)
    use(shop, "49.99", "0.01", "2")
    use(shop, "4")
    assert booked() == [
        ("free", Decimal("49.99")),
        ("free", Decimal("0.01")),
        ("scale", Decimal("1")),
        ("scale", Decimal("2")),
    ]
    bill = preview.preview(customer=shop.customer, currency="USD")
    assert bill is not None
    assert {line.charge_key: line.amount for line in bill.lines} == {
        "list": Decimal("50"),
        "scale": Decimal("3"),
    }
    assert_clean()


@pytest.mark.django_db
def test_the_next_period_begins_at_nothing_again() -> None:
    shop = make_shop(body=BODY)
    use(shop, "60", "1")
    with clock.travel(NOVEMBER):
        use(shop, "1")
        # Late usage of October is priced where October stands.
        use(shop, "1", at=OCTOBER)
        levels = [level for level, _ in booked()]
        assert levels == ["free", "scale", "free", "scale"]
        assert_clean()


@pytest.mark.django_db
def test_bought_credits_reach_a_level_and_are_asked_for_only_where_they_do() -> None:
    shop = make_shop(body=BODY)

    def buy(amount: str, kind: CreditGrant.Kind = CreditGrant.Kind.PURCHASED) -> None:
        wallets.grant(
            customer=shop.customer,
            currency="USD",
            amount=Decimal(amount),
            kind=kind,
            title="Credits",
            actor=None,
        )

    buy("100", CreditGrant.Kind.PROMOTIONAL)
    use(shop, "1")
    buy("4.99")
    use(shop, "1")
    buy("0.01")
    use(shop, "1")
    assert [level for level, _ in booked()] == ["free", "free", "build"]
    assert_clean()
    spend_only = make_shop(body={**BODY, "levels": [LEVELS[0], *LEVELS[2:]]} | _few())
    store_event(spend_only, {"tool_calls": "1"})
    with CaptureQueriesContext(connection) as asked:
        pipeline.rate()
    assert not any("creditgrant g JOIN" in one["sql"] for one in asked.captured_queries)


def _few() -> dict[str, Any]:
    """Return charges without one for a level that credits reach."""
    return {"charges": [charge("list", "1"), charge("scale", "0.50", "scale")]}


@pytest.mark.django_db
def test_a_level_by_hand_and_spend_go_on_through_a_change_of_plan() -> None:
    shop = make_shop(body=BODY)
    use(shop, "45")
    later = OCTOBER + dt.timedelta(minutes=5)
    with clock.travel(later):
        subscriptions.change_plan(
            subscription=shop.subscription,
            plan_version=make_version(shop.product, BODY),
            at=later,
            actor=None,
        )
        use(shop, "5", "1")
    assert [level for level, _ in booked()] == ["free", "free", "scale"]
    again = later + dt.timedelta(minutes=5)
    with clock.travel(again):
        subscriptions.change_plan(
            subscription=shop.subscription,
            plan_version=shop.version,
            at=again,
            actor=None,
            overrides={"level": "enterprise"},
        )
        use(shop, "4")
        assert booked()[-1] == ("enterprise", Decimal("1"))
        assert_clean()


@pytest.mark.django_db
def test_a_level_that_the_plan_does_not_have_is_refused_by_name() -> None:
    shop = make_shop(body=BODY)
    with pytest.raises(AforoError, match="no spend level gold; it has free") as caught:
        subscriptions.change_plan(
            subscription=shop.subscription,
            plan_version=shop.version,
            at=OCTOBER + dt.timedelta(minutes=5),
            actor=None,
            overrides={"level": "gold"},
        )
    assert (caught.value.code, caught.value.status) == ("unknown_level", 422)


@pytest.mark.django_db
def test_the_stamp_explains_the_entry_whatever_is_bought_or_spent_later() -> None:
    shop = make_shop(body=BODY)
    lie = {"spend_level": "enterprise"}
    use(shop, "30", "30", "1", properties=lie)
    wallets.grant(
        customer=shop.customer,
        currency="USD",
        amount=Decimal(50),
        kind=CreditGrant.Kind.PURCHASED,
        title="Credits",
        actor=None,
    )
    assert [level for level, _ in booked()] == ["free", "free", "scale"]
    assert_clean()
    # Sealed: another level would be another price.
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "UPDATE billing_ledgerentry SET spend_level = 'build'"
            " WHERE spend_level = 'scale'"
        )
        cursor.execute("SET session_replication_role = DEFAULT")
    found = {code for code, texts in breaks().items() if texts}
    assert {"I-4", "I-5"} <= found


@pytest.mark.django_db
def test_plans_without_levels_stamp_nothing_and_ask_nothing() -> None:
    shop = make_shop(body={"currency": "USD", "charges": [charge("list", "1")]})
    store_event(shop, {"tool_calls": "1"}, properties={"spend_level": "scale"})
    with CaptureQueriesContext(connection) as asked:
        pipeline.rate()
    assert booked() == [(None, Decimal("1"))]
    sent = [one["sql"] for one in asked.captured_queries]
    assert not any("t.snapshot_id, t.period_id, t.currency, t.spend" in s for s in sent)
    assert_clean()


@pytest.mark.django_db
def test_sessions_and_outcomes_of_such_a_plan_are_settled_as_ever() -> None:
    rates = {
        "model": "dimensions",
        "tool_invocations": {"*": "30"},
        "error_rate_penalties": {"threshold": "0.05", "multiplier": "1.5"},
    }
    cheap = {**rates, "tool_invocations": {"*": "10"}}
    outcome = {
        "model": "compound",
        "outcome": {"all": [{"event_type": "doc.parsed"}, {"event_type": "doc.sent"}]},
        "price": {"model": "per_unit", "unit_amount": "4"},
    }
    scale = {"spend_level": "scale"}
    charges = [
        {"key": "list", "name": "List", "price": rates},
        {"key": "scale", "name": "Scale", "price": cheap, "filter": scale},
        {"key": "done", "name": "Done", "price": outcome},
    ]
    shop = make_shop(body={**BODY, "charges": charges})
    for _ in range(3):
        properties = {"tool": "x", "status": "FAILED"}
        use(
            shop,
            "1",
            event_type="mcp.tool_invoked",
            session_key="s",
            tool_name="x",
            properties=properties,
        )
    for kind in ("doc.parsed", "doc.sent"):
        store_event(shop, {}, event_type=kind, correlation_id="c")
        pipeline.rate()
    store_event(shop, {}, event_type="session.completed", session_key="s")
    pipeline.rate()
    assert settling.settle() == 1
    amounts = [amount for _, amount in booked() if amount]
    assert amounts == [Decimal(30), Decimal(30), Decimal(10), Decimal(4)]
    repriced = LedgerEntry.objects.get(kind="reprice")
    assert repriced.amount == 35
    assert repriced.spend_level is None
    assert UsageTotal.objects.get().spend == 109
    assert_clean()


@pytest.mark.django_db
def test_months_priced_again_go_by_the_time_of_the_events() -> None:
    shop = make_shop(body={"currency": "USD", "charges": [charge("list", "1")]})
    early, late = OCTOBER - dt.timedelta(hours=2), OCTOBER - dt.timedelta(hours=1)
    use(shop, "10", at=late)  # Arrives first …
    use(shop, "60", at=early)  # … and happened last: then it is at the level Scale.
    (priced,) = load_plans({make_version(shop.product, BODY).pk}).values()
    with clock.travel(NOVEMBER):
        pricer = backtest.Pricer(
            tenant_id=shop.tenant.pk,
            month=dt.date(2026, 10, 1),
            plans=[priced],
            product_id=None,
        )
        month = pricer.price(shop.customer)
        assert isinstance(month, backtest.Priced)
        (bill,) = month.new
        assert {line.charge_key: line.exact_amount for line in bill.lines} == {
            "list": Decimal(60),
            "scale": Decimal(5),
        }
        (old,) = load_plans({shop.version.pk}).values()
        impact = repricing.last_month({shop.subscription: old.plan}, priced.plan)
        assert (impact.old, impact.new) == (Decimal(70), Decimal(65))


@pytest.mark.django_db(transaction=True)
def test_events_over_http_climb_the_levels(runner: asyncio.Runner) -> None:
    shop = make_shop(body=BODY)
    door = BareDoor(runner)
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {shop.service_secret}",
    }
    for number, calls in enumerate([30, 20, 8]):
        body = {
            "eventId": f"e-{number}",
            "eventType": "tool.called",
            "customerId": shop.customer.external_id,
            "correlationId": f"c-{number}",
            "timestamp": OCTOBER.isoformat(),
            "properties": {"spend_level": "enterprise"},
            "measurements": [{"metricKey": "tool_calls", "value": calls}],
        }
        reply = door.send(json.dumps(body).encode(), headers)
        assert reply.status == 200, reply.body
        pipeline.rate()
    assert booked() == [
        ("free", Decimal(30)),
        ("free", Decimal(20)),
        ("scale", Decimal(4)),
    ]
    assert_clean()
