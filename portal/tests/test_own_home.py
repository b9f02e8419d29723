"""Where sign-in leads each role, and what a customer's own people see there."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aforo.core.models import Role
from aforo.lib.money import display
from billing.models import Agent, BillingPeriod, Credential, Customer, UsageTotal
from portal import context
from portal.tests.conftest import PASSWORD
from portal.tests.scene import NOW, Scene, sign_in
from tests.factories import make_shop

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a [^>]*href="(/[^"]*)"')


@pytest.mark.parametrize("role", Role)
def test_signing_in_leads_every_role_to_a_page_it_may_see(
    scene: Scene, role: Role
) -> None:
    person = scene.people[role.value]
    person.set_password(PASSWORD)
    person.save()
    given = {"email": person.email, "password": PASSWORD}
    answer = Client().post("/login", given, follow=True)
    assert answer.redirect_chain
    assert answer.status_code == 200


@pytest.mark.parametrize("role", Role)
def test_every_link_of_its_first_page_opens(scene: Scene, role: Role) -> None:
    client = sign_in(scene, role)
    page = client.get("/").content.decode()
    offered = {path for path in LINK.findall(page) if not path.startswith("/static")}
    assert offered
    for path in sorted(offered):
        assert client.get(path, follow=True).status_code == 200, path


NAVIGATION = [link for _, links in context.NAVIGATION for link in links]


@pytest.mark.parametrize("link", NAVIGATION, ids=lambda link: link.label)
@pytest.mark.parametrize("role", Role)
def test_a_link_of_the_navigation_is_shown_to_those_who_may_open_it(
    scene: Scene, role: Role, link: context.Link
) -> None:
    client = sign_in(scene, role)
    page = client.get("/").content.decode()
    shown = f'class="nav-link" href="{link.path}"' in page
    assert shown is (role in link.roles)
    if shown:
        assert client.get(link.path, follow=True).status_code == 200
    elif role is not Role.DEVELOPER:
        assert client.get(link.path).status_code == 403


def test_a_developer_sees_agents_spend_contracts_and_credit(scene: Scene) -> None:
    customer = scene.shop.customer
    page = sign_in(scene, Role.DEVELOPER).get("/").content.decode()
    assert customer.name in page
    for agent in Agent.objects.filter(customer=customer):
        assert agent.name in page
    total = UsageTotal.objects.get(
        customer=customer, period__start_at__month=11, currency="USD"
    )
    assert total.spend
    assert display(total.spend + total.recurring, "USD") in page
    assert "Platform fee: $99.00 a month, in advance." in page
    assert "Wallet balance" in page


def test_a_developer_sees_no_cost_no_margin_and_nobody_else(scene: Scene) -> None:
    stranger = Customer.objects.create(
        tenant=scene.shop.tenant, name="Stranger & Sons", currency="USD"
    )
    foreign = make_shop()
    page = sign_in(scene, Role.DEVELOPER).get("/").content.decode()
    for word in ("margin", "COGS", "Our cost", "cost rate"):
        assert word.lower() not in page.lower(), word
    for name in (stranger.public_id, foreign.customer.public_id, "Stranger"):
        assert name not in page


def test_a_customer_without_anything_is_told_so(scene: Scene) -> None:
    empty = Customer.objects.create(
        tenant=scene.shop.tenant, name="New", currency="EUR", state="suspended"
    )
    developer = scene.people[Role.DEVELOPER.value]
    developer.memberships.update(customer_id=empty.pk)
    page = sign_in(scene, Role.DEVELOPER).get("/").content.decode()
    for words in ("No agent yet", "No subscription", "account is suspended"):
        assert words in page
    assert "€0.00" in page


def test_the_number_of_statements_does_not_grow_with_agents(scene: Scene) -> None:
    client, first = sign_in(scene, Role.DEVELOPER), Agent.objects.first()
    assert first is not None
    counts = []
    for number in range(3):
        with CaptureQueriesContext(connection) as seen:
            assert client.get("/").status_code == 200
        counts.append(len(seen))
        Agent.objects.create(
            tenant=first.tenant,
            customer=scene.shop.customer,
            team=first.team,
            kind=first.kind,
            name=f"Another {number}",
        )
    assert len(set(counts)) == 1


DEEPER = re.compile(r"^/(plans|products|customers|invoices|metrics|sessions|events)/")
SKIPPED = re.compile(r"\.(csv|pdf|json)|^/(admin|logout|prices|static)")


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.DEVELOPER])
def test_no_page_offers_a_link_that_its_reader_may_not_open(
    scene: Scene, role: Role
) -> None:
    client = sign_in(scene, role)
    starts = [link.path for link in NAVIGATION if role in link.roles]
    seen = {path: client.get(path).status_code for path in starts}
    for start in starts:
        if SKIPPED.search(start):
            continue
        found = LINK.findall(client.get(start).content.decode())
        # One page of each kind behind a list, and every link on it.
        details = [path for path in found if DEEPER.match(path)][:1]
        for detail in details:
            found += LINK.findall(client.get(detail).content.decode())
        for path in found:
            if not SKIPPED.search(path) and path not in seen:
                seen[path] = client.get(path, follow=True).status_code
    refused = {path for path, status in seen.items() if status not in (200, 302)}
    assert refused == set()
    assert len(seen) > 20


def test_an_agent_whose_events_name_no_key_was_used_all_the_same(scene: Scene) -> None:
    client = sign_in(scene, Role.DEVELOPER)
    Credential.objects.update(last_used_at=None)
    (row, *_) = client.get("/").context["agents"]
    assert row.event_count
    assert row.is_to_the_hour
    assert row.last_used_at is not None
    assert "or up to an hour later" in client.get("/").content.decode()
    # A key of its own says it to the minute.
    at = row.last_used_at + dt.timedelta(minutes=40)
    Credential.objects.filter(agent=row.agent).update(last_used_at=at)
    (row, *_) = client.get("/").context["agents"]
    assert (row.last_used_at, row.is_to_the_hour) == (at, False)


def test_the_period_is_told_in_the_customers_zone(scene: Scene) -> None:
    periods = BillingPeriod.objects.filter(customer=scene.customer)
    periods.filter(start_at__lte=NOW, end_at__gt=NOW).update(timezone="Asia/Tokyo")
    text = sign_in(scene, Role.DEVELOPER).get("/").content.decode()
    # As staff see it: the period's instants in its own zone.
    assert "1 Nov – 1 Dec 2026 Asia/Tokyo" in text
