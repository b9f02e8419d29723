"""Who tells what: pauses, invoices, price rises; and what rules make of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Happening
from aforo.lib import clock
from billing import accounts, invoicing
from guard import alert_rules, alerts
from guard.models import AlertFiring, Delivery
from metering import pipeline
from tests.factories import Shop, make_shop, make_tenant, store_event

pytestmark = pytest.mark.django_db


def types() -> list[str]:
    return [row.type for row in Happening.objects.order_by("pk")]


def test_a_pause_and_a_resume_are_told_each_time():
    shop = make_shop()
    for _ in range(2):
        accounts.pause_agent(agent=shop.agent, actor=shop.owner, reason="runs wild")
        accounts.resume_agent(agent=shop.agent, actor=shop.owner)

    assert types() == ["agent.paused", "agent.resumed"] * 2
    first = Happening.objects.order_by("pk")[0]
    assert "runs wild" in first.text
    assert first.severity == "block"


def test_an_issued_invoice_is_told_with_its_total():
    shop = make_shop(since=clock.now() - dt.timedelta(days=70))
    store_event(shop, {"tool_calls": 150})
    pipeline.rate()
    with clock.travel(clock.now() + dt.timedelta(days=32)):
        invoicing.close_periods(clock.now())
        with clock.travel(clock.now() + dt.timedelta(hours=2)):
            invoicing.close_periods(clock.now())

    told = [r for r in Happening.objects.all() if r.type == "invoice.issued"]
    assert any(row.text.endswith("$1.50") for row in told), [r.text for r in told]


def rule(shop: Shop, **values: Any) -> Any:
    given = {"name": "r", "kind": Kind.QUOTA, "emails": ["ops@example.com"]} | values
    return alert_rules.create(tenant=shop.tenant, values=given, actor=None)


def happen(shop: Shop, line: int, severity: Severity = Severity.WARN) -> None:
    tell(
        Kind.QUOTA,
        tenant=shop.tenant,
        scope="sub_1/tokens",
        severity=severity,
        text=f"{line} % of monthly quota",
        key=f"w1:{line}",
        figures={"line": Decimal(line), "window": "w1"},
        customer_id=shop.customer.pk,
    )
    alerts.handle()


def fired() -> list[str]:
    return list(AlertFiring.objects.order_by("pk").values_list("text", flat=True))


def test_a_rule_fires_once_for_its_line_scope_and_window():
    shop = make_shop()
    rule(shop, threshold=Decimal(80))
    happen(shop, 50)
    happen(shop, 100)
    happen(shop, 120)

    assert fired() == ["100 % of monthly quota"]
    happen(shop, 10, Severity.OK)
    happen(shop, 10, Severity.OK)
    assert fired()[1:] == ["10 % of monthly quota"]


def test_a_rule_without_a_line_tells_each_crossing_from_its_severity():
    shop = make_shop()
    rule(shop, severity=Severity.BLOCK)
    happen(shop, 80)
    happen(shop, 100, Severity.BLOCK)

    assert fired() == ["100 % of monthly quota"]


@pytest.mark.parametrize("every", ["hour", "day"])
def test_a_rule_fires_once_an_hour_or_a_day(every: str):
    shop = make_shop()
    rule(shop, every=every)
    happen(shop, 80)
    happen(shop, 100)

    assert fired() == ["80 % of monthly quota"]


def test_a_snoozed_a_disabled_and_a_foreign_rule_keep_quiet():
    shop = make_shop()
    alert_rules.snooze(rule=rule(shop), during=dt.timedelta(hours=1), actor=None)
    rule(shop, name="off", enabled=False)
    rule(make_shop(), name="other tenant")
    happen(shop, 80)

    assert fired() == []


def test_a_rule_sends_e_mail_or_says_why_not(settings: Any):
    shop = make_shop()
    made = rule(shop)
    alerts.test_fire(rule=made, actor=None)
    row = Delivery.objects.get()
    assert (row.state, row.email) == ("failed", "ops@example.com")
    assert "AFORO_SMTP_URL" in row.attempts[0]["error"]

    settings.SMTP_URL = "smtp://localhost"
    alerts.test_fire(rule=made, actor=None)
    assert Delivery.objects.filter(state="waiting").count() == 1


def test_starters_are_added_once():
    tenant = make_tenant()
    first = alert_rules.add_starters(tenant=tenant, actor=None)
    assert [r.kind for r in first] == ["velocity", "wallet", "margin", "cap"]
    assert alert_rules.add_starters(tenant=tenant, actor=None) == []
