"""Customers, teams and agents are priced and attributed as of the event's time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection

from aforo.core import fx
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.management.commands.verify import breaks
from billing import accounts, hierarchy
from billing.hierarchy import Course
from billing.models import (
    AgentGrant,
    BillingPeriod,
    CustomerBooks,
    FormerFacets,
    LedgerEntry,
)
from metering import directory, enrichment, pipeline, voiding
from metering.history import Reader
from metering.tests.conftest import Door, Seller
from tests.factories import Shop, make_shop, store_event

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    enrichment.forget()
    yield
    enrichment.forget()


def by_facet(name: str, **prices: str) -> dict[str, Any]:
    """A plan with a price of a call for each value of a facet."""
    return {
        "currency": "USD",
        "charges": [
            {
                "key": value,
                "name": value,
                "metric": "tool_calls",
                "filter": {name: [value]},
                "price": {"model": "per_unit", "unit_amount": price},
            }
            for value, price in prices.items()
        ],
    }


def make_plain_shop(facet: str, **prices: str) -> Shop:
    """A shop whose agent, team and customer are `other` since ever."""
    shop = make_shop(body=by_facet(facet, other="1", **prices))
    shop.agent.tier = shop.team.tier = shop.customer.segment = "other"
    for row in (shop.agent, shop.team, shop.customer):
        row.save()
    return shop


def rated(shop: Shop, **event: Any) -> LedgerEntry:
    """Store a call, rate it and return its entry."""
    stored = store_event(shop, {"tool_calls": 1}, **event)
    assert pipeline.rate() == 1
    return LedgerEntry.objects.get(event_id=stored.pk, kind="usage")


def broken() -> dict[str, Any]:
    """Return the invariants that do not hold."""
    return {code: found for code, found in breaks().items() if found}


SUBJECTS = [
    ("agent.tier", "agent", "tier"),
    ("team.tier", "team", "tier"),
    ("customer.segment", "customer", "segment"),
]


@pytest.mark.parametrize(("facet", "subject", "field"), SUBJECTS)
def test_usage_of_before_a_change_keeps_the_price_of_then(
    facet: str, subject: str, field: str
) -> None:
    shop = make_plain_shop(facet, gold="5", silver="3")
    row = getattr(shop, subject)
    first = clock.now()
    assert rated(shop).amount == 1
    for value in ("gold", "silver"):
        setattr(row, field, value)
        hierarchy.save(row)
    assert [f.valid_from for f in FormerFacets.objects.order_by("valid_to")] == [
        None,
        FormerFacets.objects.order_by("valid_to")[0].valid_to,
    ]
    assert rated(shop).amount == 3
    assert rated(shop, at=first - HOUR).amount == 1
    until = FormerFacets.objects.order_by("-valid_to")[0].valid_to
    assert rated(shop, at=until - hierarchy.TICK).amount == 5
    assert rated(shop, at=until).amount == 3  # [from, to)
    assert broken() == {}


def test_an_agents_team_of_then_decides_with_the_teams_tier_of_then() -> None:
    shop = make_plain_shop("team.tier", gold="5", silver="3")
    before = clock.now()
    other = accounts.create_team(
        customer=shop.customer, name="Other", actor=None, tier="silver"
    )
    shop.team.tier = "gold"
    hierarchy.save(shop.team)
    golden = clock.now()
    shop.agent.team = other
    hierarchy.save(shop.agent)
    assert rated(shop, at=before).amount == 1
    assert rated(shop, at=golden).amount == 5
    assert rated(shop).amount == 3
    shop.team.tier = "lead"  # It left that team: nothing changes for the agent.
    hierarchy.save(shop.team)
    assert rated(shop, at=golden).amount == 5
    assert rated(shop).amount == 3
    assert broken() == {}


def test_what_was_rated_ahead_of_the_clock_keeps_its_price() -> None:
    shop = make_plain_shop("agent.tier", gold="5")
    ahead = clock.now() + dt.timedelta(minutes=4)
    assert rated(shop, at=ahead).amount == 1
    shop.agent.tier = "gold"
    hierarchy.save(shop.agent)
    assert FormerFacets.objects.get().valid_to == ahead + hierarchy.TICK
    assert rated(shop, at=ahead + hierarchy.TICK).amount == 5
    assert broken() == {}


def test_a_void_takes_back_the_price_of_then() -> None:
    shop = make_plain_shop("agent.tier", gold="5")
    event = store_event(shop, {"tool_calls": 1})
    assert pipeline.rate() == 1
    shop.agent.tier = "gold"
    hierarchy.save(shop.agent)
    rated(shop)
    voiding.void(event, reason="A mistake of ours.", actor=None)
    sums = LedgerEntry.objects.filter(event_id=event.pk).values_list("amount")
    assert sum(amount for (amount,) in sums) == 0
    assert broken() == {}


def test_the_history_reads_the_facets_of_then_and_the_payers_segment() -> None:
    shop = make_plain_shop("agent.tier", gold="5")
    shop.customer.segment = "start-up"
    shop.customer.save()
    rated(shop)
    shop.agent.tier = "gold"
    shop.customer.segment = "enterprise"
    hierarchy.save(shop.agent)
    hierarchy.save(shop.customer)
    rated(shop)
    now = clock.now()
    period = BillingPeriod.objects.get(
        customer=shop.customer, start_at__lte=now, end_at__gt=now
    )
    rates = fx.Rates([shop.tenant.pk])
    reader = Reader(period, [shop.subscription.pk], "USD", rates)
    read = [event for chunk in reader.read() for _, event in chunk]
    found = [
        (e.properties["agent.tier"], e.properties["customer.segment"]) for e in read
    ]
    assert found == [("other", "start-up"), ("gold", "enterprise")]


def test_whoever_was_granted_the_agent_hears_of_its_change() -> None:
    shop = make_shop()
    guest = accounts.create_customer(tenant=shop.tenant, name="Guest", actor=None)
    team = accounts.create_team(customer=guest, name="Guests", actor=None)
    AgentGrant.objects.create(
        tenant=shop.tenant, agent=shop.agent, team=team, customer=guest
    )
    before = dict(CustomerBooks.objects.values_list("customer_id", "config_version"))
    shop.team.tier = "gold"
    hierarchy.save(shop.team)
    after = dict(CustomerBooks.objects.values_list("customer_id", "config_version"))
    raised = {key for key in after if after[key] > before[key]}
    assert raised == {shop.customer.pk, guest.pk}


def test_what_prices_do_not_ask_for_leaves_no_history() -> None:
    shop = make_shop()
    shop.agent.purpose = "Reads contracts"
    hierarchy.save(shop.agent)
    hierarchy.save(shop.agent)
    assert not FormerFacets.objects.exists()
    shop.agent.refresh_from_db()
    assert shop.agent.purpose == "Reads contracts"


def test_a_team_of_another_customer_is_refused() -> None:
    shop = make_shop()
    other = accounts.create_customer(tenant=shop.tenant, name="Rival", actor=None)
    shop.agent.team = accounts.create_team(customer=other, name="Theirs", actor=None)
    with pytest.raises(AforoError) as refused:
        hierarchy.save(shop.agent)
    assert (refused.value.code, refused.value.field) == ("other_customer", "team")


def test_what_was_is_never_changed_and_a_gap_is_found() -> None:
    shop = make_shop()
    shop.agent.tier = "gold"
    hierarchy.save(shop.agent)
    kept = FormerFacets.objects.get()
    with connection.cursor() as cursor, pytest.raises(IntegrityError):
        cursor.execute("UPDATE billing_formerfacets SET tier = 'x'")
    FormerFacets.objects.create(
        tenant=shop.tenant,
        customer=shop.customer,
        kind="agent",
        subject_id=shop.agent.pk,
        valid_from=kept.valid_to + HOUR,
        valid_to=kept.valid_to + 2 * HOUR,
        tier="silver",
        agent_type="GPT",
        team=shop.team,
    )
    assert len(broken()["I-43"]) == 1


def test_a_change_is_seen_by_the_next_batch_though_all_is_remembered() -> None:
    shop = make_plain_shop("agent.tier", gold="5")
    assert [rated(shop).amount for _ in range(2)] == [1, 1]
    shop.agent.tier = "gold"
    hierarchy.save(shop.agent)
    assert [rated(shop).amount for _ in range(2)] == [Decimal(5), Decimal(5)]


def test_an_event_names_and_keeps_the_team_of_its_own_time(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    old = seller.team
    new = accounts.create_team(
        customer=seller.customer, name="New", actor=None, external_id="new-team"
    )
    before = (clock.now() - HOUR).isoformat()
    seller.agent.team = new
    hierarchy.save(seller.agent)
    directory.forget()
    assert door.post(seller, seller.tool(timestamp=before)).status == 200
    assert door.post(seller, seller.tool()).status == 200
    assert [event.team for event in seller.stored()] == [old, new]
    early = seller.tool(timestamp=before, team_id="new-team")
    assert door.post(seller, early).code == (404, "not_found")
    assert door.post(seller, seller.tool(team_id="new-team")).status == 200


def test_a_course_answers_by_its_ends() -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    course = Course("c", (noon, noon + HOUR), ("a", "b"))
    asked = [
        noon - HOUR,
        noon,
        noon + HOUR - hierarchy.TICK,
        noon + HOUR,
        noon + 2 * HOUR,
    ]
    assert [course.at(instant) for instant in asked] == ["a", "b", "b", "c", "c"]
