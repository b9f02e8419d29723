"""The page of one customer: changes, guard, wallet, margin floor, proof by ledger."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.urls import reverse

from aforo.core.models import Role
from aforo.lib import ids
from billing import accounts
from billing.models import Agent, Wallet
from guard import stores
from guard.engine import keys
from guard.models import Decision
from metering import pipeline
from metering.models import UsageRollup
from portal.selectors import customer_agents, customer_guard, customer_wallet, figures
from portal.tests.scene import NOW, Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db
SPAN = figures.month_to_date(NOW)
BEFORE = NOW - dt.timedelta(hours=2)  # In an hour that the span covers.


def text(scene: Scene, query: str = "", role: Role = Role.OWNER) -> str:
    """Return the page of the scene's customer."""
    answer = sign_in(scene, role).get(f"{scene.path}{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def decide(scene: Scene, reason: str, **more: Any) -> Decision:
    """Write down what the guard decided on a call of the customer."""
    values = {
        "customer_id": scene.customer.pk,
        "agent_id": scene.agent.pk,
        "decision": "deny",
        "decided_at": NOW - dt.timedelta(hours=1),
    } | more
    return Decision.objects.create(tenant=scene.tenant, reason_code=reason, **values)


def roll(scene: Scene, agent: Agent, at: dt.datetime, **sums: Any) -> None:
    """Add an hour of an agent to the hourly sums."""
    UsageRollup.objects.create(
        tenant=scene.tenant,
        customer=scene.customer,
        hour=at,
        agent_id=agent.pk,
        team_id=agent.team_id,
        event_type="rolled",
        currency="USD",
        **sums,
    )


def test_the_agents_sum_to_the_ledger(scene: Scene) -> None:
    table = customer_agents.by_agent(scene.customer, SPAN, {})
    assert [row.label for row in table.rows] == ["Writer", "Recurring fees"]
    assert table.agrees
    assert table.ledger_entries == 14
    assert table.total.revenue == sum(r.figures.revenue for r in table.rows)
    page = text(scene, role=Role.VIEWER)
    assert "Ledger = sum" in page
    assert "as of <time" in page


def test_the_header_names_plan_period_and_its_day(scene: Scene) -> None:
    page = text(scene)
    assert reverse("plan", args=[scene.version.plan.public_id]) in page
    assert "Billing period 1–30 Nov 2026 UTC, day 18 of 30" in page


def test_usage_and_events_lead_to_their_pages_with_this_customer(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    page = client.get(scene.path)
    urls = {tab["label"]: tab["url"] for tab in page.context["tabs"]}
    assert "Alerts" not in urls
    for label in ("Usage", "Events", "Hierarchy and keys"):
        assert client.get(urls[label]).status_code == 200
    assert f"customer={scene.customer.public_id}" in urls["Usage"]
    usage = client.get(urls["Usage"])
    assert usage.context["asked"].choice.filters["customer"] == scene.customer.public_id
    listed = client.get(urls["Events"]).context["rows"]
    assert {row.event.customer_id for row in listed} == {scene.customer.pk}


def test_what_changed_most_is_told_with_what_is_behind_it(scene: Scene) -> None:
    other = accounts.create_agent(
        team=scene.shop.team, name="Parser", kind=Agent.Kind.APP, actor=None
    )
    same = {"event_count": 40, "revenue": Decimal(8), "cost": Decimal(2)}
    roll(scene, other, dt.datetime(2026, 10, 5, 9, tzinfo=dt.UTC), **same)
    roll(
        scene,
        other,
        dt.datetime(2026, 11, 5, 9, tzinfo=dt.UTC),
        **{**same, "error_count": 12},
    )
    client = sign_in(scene, Role.VIEWER)
    page = client.get(scene.path)
    row = next(r for r in page.context["by_agent"].rows if r.label == "Parser")
    assert row.change.name == "failed events"
    assert (row.change.was, row.change.now) == ("0.0 %", "30.0 %")
    assert row.change_url.replace("&", "&amp;") in page.content.decode()
    behind = client.get(row.change_url)
    assert behind.status_code == 200
    assert "outcome=failed" in row.change_url
    writer = next(r for r in page.context["by_agent"].rows if r.label == "Writer")
    assert writer.change.note == "too few events to compare"


def test_an_agent_that_stopped_and_one_that_was_only_refused_have_a_row(
    scene: Scene,
) -> None:
    team = scene.shop.team
    gone, refused = (
        accounts.create_agent(team=team, name=n, kind=Agent.Kind.APP, actor=None)
        for n in ("Gone", "Refused")
    )
    at = dt.datetime(2026, 10, 5, 9, tzinfo=dt.UTC)
    roll(scene, gone, at, event_count=30, revenue=Decimal(3))
    decide(scene, "wallet.customer.balance", agent_id=refused.pk)
    rows = {
        r.label: r for r in sign_in(scene, Role.VIEWER).get(scene.path).context[
            "by_agent"
        ].rows
    }  # fmt: skip
    assert rows["Gone"].change.note == "no events; 30 in 1–18 Oct"
    assert rows["Refused"].guard.denied == 1


def test_costs_are_linked_for_those_only_who_may_open_them(scene: Scene) -> None:
    link = f'href="/analytics/cogs?customer={scene.customer.public_id}'
    for role, may in ((Role.FINANCE, True), (Role.VIEWER, False)):
        assert (link in text(scene, role=role)) is may
    url = re.search(f'{re.escape(link)}[^"]*', text(scene, role=Role.FINANCE))
    assert url is not None
    path = url[0].removeprefix('href="').replace("&amp;", "&")
    assert sign_in(scene, Role.FINANCE).get(path).status_code == 200


def test_the_margin_is_held_against_the_floor(scene: Scene) -> None:
    page = text(scene)
    assert "above the floor" in page
    assert "below floor" not in page
    fee = figures.fees(NOW).get(customer=scene.customer).recurring
    rated = UsageRollup.objects.filter(customer=scene.customer, hour__gte=SPAN.start)
    one = rated.latest("hour")
    rated.exclude(pk=one.pk).update(cost=0, revenue=0)
    rated.filter(pk=one.pk).update(revenue=fee, cost=fee * Decimal("0.9"))
    assert "below floor" in text(scene)  # The agent, and not the customer.
    assert "above the floor" in text(scene)
    UsageRollup.objects.filter(customer=scene.customer).update(cost=Decimal(1000))
    page = text(scene)
    assert "below the floor" in page
    assert "loss" in page


def test_the_guard_counts_today_by_reason_and_links_what_it_decided(
    scene: Scene,
) -> None:
    decide(scene, "spend_cap.customer.period")
    decide(scene, "spend_cap.customer.period", agent_id=None)
    decide(scene, "requests.subscription.minute", decision="throttle")
    decide(scene, "", decision="allow", degraded=True)
    decide(scene, "wallet.customer.balance", decided_at=NOW - dt.timedelta(days=1))
    whole, by_agent = customer_guard.today(scene.customer, NOW)
    assert (whole.denied, whole.throttled, whole.degraded) == (2, 1, 1)
    first = whole.reasons[0]
    assert (first.words, first.count) == ("customer spend cap", 2)
    mine = by_agent[scene.agent.pk]
    assert (mine.denied, mine.throttled, mine.degraded) == (1, 1, 1)
    client = sign_in(scene, Role.VIEWER)
    for url, count in (
        (whole.url, 4),
        (first.url, 2),
        (mine.url, 3),
        (mine.reasons[0].url, 1),
        (by_agent[None].url, 1),
    ):
        listed = client.get(url)
        assert listed.status_code == 200
        assert listed.context["cl"].result_count == count
    page = client.get(scene.path).content.decode()
    assert "2 × customer spend cap" in page
    assert "slowed by requests per minute" in page


def test_the_guard_of_another_customer_is_not_counted(scene: Scene) -> None:
    decide(scene, "wallet.customer.balance", customer_id=ids.new_id())
    whole, by_agent = customer_guard.today(scene.customer, NOW)
    assert not whole.any
    assert by_agent == {}


def test_the_wallet_says_settled_pending_available_and_how_long_it_lasts(
    scene: Scene, guard_redis: redis.Redis
) -> None:
    wallet = Wallet.objects.get(customer=scene.customer)
    sums = keys.hold_keys(scene.customer.tag)[2]
    guard_redis.hset(sums, mapping={"n": 2, "m": 1_250_000})
    found = customer_wallet.standing(scene.customer, NOW)
    assert found is not None
    assert found.pending is not None
    assert (found.pending.calls, found.pending.amount) == (2, Decimal("1.25"))
    assert found.available == wallet.balance - Decimal("1.25")
    # All of it was burnt today, by a wallet of today: the pace of one day.
    assert found.pace == Decimal(50) - wallet.balance
    assert found.days_left == int(found.available / found.pace)
    page = text(scene, "?tab=wallet")
    assert "pending −" in page
    assert "in 2 open calls" in page
    assert "(estimate)" in page


def test_without_the_guards_store_pending_is_not_known(
    scene: Scene, settings: Any
) -> None:
    stores.for_pages.cache_clear()
    settings.GUARD_REDIS_URL = "redis://127.0.0.1:1/0"
    try:
        found = customer_wallet.standing(scene.customer, NOW)
        assert found is not None
        assert found.pending is None
        assert "pending not known" in text(scene)
    finally:
        stores.for_pages.cache_clear()


def test_a_customer_without_a_wallet_or_usage_has_a_page(scene: Scene) -> None:
    quiet = accounts.create_customer(tenant=scene.tenant, name="Quiet", actor=None)
    client = sign_in(scene, Role.VIEWER)
    page = client.get(f"/customers/{quiet.public_id}").content.decode()
    assert "no wallet: usage is invoiced" in page
    assert "no billing period yet" in page
    assert "Nothing this month yet" in page


def test_the_page_takes_a_bounded_number_of_statements(
    scene: Scene, django_assert_max_num_queries: Any
) -> None:
    client = sign_in(scene, Role.OWNER)
    client.get(scene.path)
    for n in range(12):
        agent = accounts.create_agent(
            team=scene.shop.team, name=f"A{n}", kind=Agent.Kind.APP, actor=None
        )
        scene.store({"tool_calls": 1}, at=BEFORE, agent=agent)
        decide(scene, "wallet.customer.balance", agent_id=agent.pk)
    pipeline.rate()
    with django_assert_max_num_queries(48):
        page = client.get(scene.path)
    assert len(page.context["by_agent"].rows) == 14
    assert page.context["by_agent"].agrees


def test_a_long_list_of_agents_is_cut_and_still_sums(scene: Scene) -> None:
    for n in range(customer_agents.ROWS_MAX + 2):
        agent = accounts.create_agent(
            team=scene.shop.team, name=f"A{n:03}", kind=Agent.Kind.APP, actor=None
        )
        scene.store({"tool_calls": 1}, at=BEFORE, agent=agent)
    pipeline.rate()
    page = sign_in(scene, Role.VIEWER).get(scene.path)
    table = page.context["by_agent"]
    assert (len(table.shown), table.hidden) == (customer_agents.ROWS_MAX, 4)
    assert table.agrees
    assert "with 4 more agents" in page.content.decode()


def test_a_developer_sees_none_of_it(scene: Scene) -> None:
    other = make_scene()
    developer = sign_in(scene, Role.DEVELOPER)
    for path in (scene.path, f"{scene.path}/hierarchy"):
        assert developer.get(path).status_code == 403
    assert sign_in(scene, Role.OWNER).get(f"{other.path}/hierarchy").status_code == 404
