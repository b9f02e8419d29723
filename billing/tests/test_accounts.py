"""Customers, teams and agents: made with books, refused with reasons, audited."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry
from aforo.lib.errors import AforoError
from billing import accounts
from billing.models import Agent, Customer, CustomerBooks
from billing.signals import config_changed, restricting
from billing.tests.cast import make_cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def restricted():
    """What was sent before commits, as dicts."""
    heard = []

    def hear(sender, signal, **facts):
        heard.append(facts)

    restricting.connect(hear, weak=False)
    yield heard
    restricting.disconnect(hear)


def test_a_customer_comes_with_books_and_the_tenants_currency_and_zone():
    cast = make_cast()
    cast.tenant.currency, cast.tenant.timezone = "EUR", "Europe/Berlin"
    made = accounts.create_customer(tenant=cast.tenant, name="Beta", actor=cast.owner)
    assert (made.currency, made.timezone) == ("EUR", "Europe/Berlin")
    assert CustomerBooks.objects.filter(pk=made.pk).exists()
    entry = AuditEntry.objects.filter(action="customer.created")[0]
    assert (entry.actor, entry.object_label) == (cast.owner, "Beta")


@pytest.mark.parametrize(
    ("_case", "fields", "code"),
    [
        ("currency", {"currency": "usd"}, "unknown_currency"),
        ("zone", {"timezone": "Mars"}, "unknown_timezone"),
        ("path as a zone", {"timezone": "../etc/passwd"}, "unknown_timezone"),
        ("negative cap", {"spend_cap": Decimal(-1)}, "invalid_cap"),
        ("cap beyond the edge", {"spend_cap": Decimal(9_000_000_001)}, "invalid_cap"),
        ("cap that is none", {"spend_cap": Decimal("NaN")}, "invalid_cap"),
    ],
)
def test_what_a_customer_cannot_be(_case, fields, code):
    tenant = make_cast().tenant
    with pytest.raises(AforoError, match=code):
        accounts.create_customer(tenant=tenant, name="X", actor=None, **fields)


def test_external_ids_are_unique_in_a_tenant_and_free_elsewhere():
    cast, other = make_cast(), make_cast()
    for tenant in (cast.tenant, other.tenant):
        accounts.create_customer(
            tenant=tenant, name="A", external_id="cust_1", actor=None
        )
    with pytest.raises(AforoError, match="external_id is taken"):
        accounts.create_customer(
            tenant=cast.tenant, name="B", external_id="cust_1", actor=None
        )


def test_team_and_agent_names_are_taken_once():
    cast = make_cast()
    with pytest.raises(AforoError, match="already_exists"):
        accounts.create_team(customer=cast.customer, name="Research", actor=None)
    with pytest.raises(AforoError, match="already_exists"):
        accounts.create_agent(
            team=cast.team, name="Writer", kind=Agent.Kind.APP, actor=None
        )


def test_a_suspension_reaches_the_edge_before_the_commit(restricted):
    cast = make_cast()
    accounts.suspend_customer(customer=cast.customer, actor=cast.owner, reason="unpaid")
    assert restricted == [{"customer_id": cast.customer.pk, "suspended": True}]
    assert cast.customer.state == Customer.State.SUSPENDED
    assert AuditEntry.objects.get(action="customer.suspended").reason == "unpaid"
    with pytest.raises(AforoError, match="wrong_state"):
        accounts.suspend_customer(customer=cast.customer, actor=None)
    accounts.reactivate_customer(customer=cast.customer, actor=cast.owner)
    assert len(restricted) == 1
    assert cast.customer.state == Customer.State.ACTIVE


def test_a_paused_agent_can_be_resumed(restricted):
    cast = make_cast()
    accounts.pause_agent(agent=cast.agent, actor=cast.owner)
    assert restricted == [{"customer_id": cast.customer.pk, "agent_id": cast.agent.pk}]
    assert cast.agent.state == Agent.State.PAUSED
    accounts.resume_agent(agent=cast.agent, actor=cast.owner)
    assert cast.agent.state == Agent.State.ACTIVE


def test_only_a_lower_cap_restricts(restricted):
    cast = make_cast()
    for cap in (Decimal(100), Decimal(200), None, Decimal(50), Decimal(20)):
        accounts.set_spend_cap(customer=cast.customer, amount=cap, actor=cast.owner)
    assert [fact["spend_cap"] for fact in restricted] == [100, 50, 20]
    changes = AuditEntry.objects.filter(action="customer.spend_cap_set")[0]
    assert changes.changes == {"spend_cap": ["50", "20"]}


def test_a_cap_of_zero_is_a_cap():
    cast = make_cast()
    made = accounts.set_spend_cap(customer=cast.customer, amount=Decimal(0), actor=None)
    assert made.spend_cap == 0


def test_the_edge_is_told_after_the_commit(django_capture_on_commit_callbacks):
    cast = make_cast()
    heard = []

    def hear(sender, signal, customer_ids):
        heard.extend(customer_ids)

    config_changed.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        accounts.pause_agent(agent=cast.agent, actor=None)
        assert heard == []
    config_changed.disconnect(hear)
    assert heard == [cast.customer.pk]
