"""Whose an event is: what callers name is checked, never believed."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from django.db import connection

from aforo.lib import clock, crypto
from billing import accounts, credentials
from billing.models import Agent, AgentGrant, BillingPeriod, Credential, Subscription
from catalog.models import Product, ProductType
from metering import directory
from metering.models import Session
from metering.tests.conftest import Door, Reply, Seller, public


def codes(
    door: Door, seller: Seller, cases: dict[str, dict[str, Any]]
) -> dict[str, tuple[int, str]]:
    directory.forget()
    return {case: door.post(seller, event).code for case, event in cases.items()}


def test_names_that_are_absent_or_anothers_get_one_answer(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    other = make_seller()
    tool, event = seller.tool, seller.event
    cases = {
        "customer absent": event(customerId="cust_none"),
        "customer of ours absent": event(customerId="cus_" + "a" * 26),
        "customer of another": event(customerId=public(other.customer)),
        "agent absent": event(agentId="agent-9"),
        "agent of another": event(agentId=public(other.agent)),
        "team of another": event(teamId=public(other.team)),
        "team absent": tool(team_id="team-9"),
        "subscription absent": event(subscriptionId="sub_" + "a" * 26),
        "product of another": event(productId=public(other.product)),
        "server of another": tool(mcp_server_id=public(other.product)),
        "tenant of another": event(tenantId=public(other.tenant)),
        "client absent": event(clientId="agt_none"),
    }
    assert codes(door, seller, cases) == dict.fromkeys(cases, (404, "not_found"))
    assert seller.stored() == other.stored() == []
    absent, foreign = (
        door.post(seller, event(agentId=name))
        for name in ("agent-9", public(other.agent))
    )
    assert absent.body == foreign.body


def test_names_that_contradict_the_credential_are_not_found(
    door: Door, seller: Seller
) -> None:
    rival = accounts.create_customer(
        tenant=seller.tenant, name="Rival", actor=None, external_id="cust_rival"
    )
    team = accounts.create_team(customer=rival, name="Core", actor=None)
    agent = accounts.create_agent(
        team=team, name="Kim", kind=Agent.Kind.APP, actor=None
    )
    second = Product.objects.create(
        tenant=seller.tenant, name="B", code="b", type=ProductType.STANDARD_API
    )
    tool = seller.tool
    cases = {
        "customer": tool(customer_id="cust_rival"),
        "team": tool(team_id=public(team)),
        "agent": tool(agent_id=public(agent)),
        "product out of reach": tool(mcp_server_id="b"),
        "agent beside another payer": seller.event(agentId=public(agent)),
    }
    assert codes(door, seller, cases) == dict.fromkeys(cases, (404, "not_found"))
    assert second.code == "b"


def test_every_way_to_name_the_payer_is_taken(door: Door, seller: Seller) -> None:
    tool = seller.tool
    cases = {
        "api key": tool(),
        "customer": tool(api_key=None, customer_id="cust_abc"),
        "customer by our id": tool(api_key=None, customer_id=public(seller.customer)),
        "agent": tool(api_key=None, agent_id="agent-7"),
        "agent by our id": tool(api_key=None, agent_id=public(seller.agent)),
        "all of them": tool(
            agent_id="agent-7",
            customer_id="cust_abc",
            team_id=public(seller.team),
            tenant_id=public(seller.tenant),
            mcp_server_id="toolkit",
        ),
    }
    assert codes(door, seller, cases) == dict.fromkeys(cases, (200, "accepted"))
    events = seller.stored()
    assert {event.customer_id for event in events} == {seller.customer.pk}
    nobody = door.post(seller, tool(api_key=None))
    assert nobody.code == (400, "payer_missing")


def test_a_key_in_the_body_that_nobody_holds_is_a_bad_key(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    unknown = crypto.mint_key("sk", "live", "a" * 12)
    for key in (unknown, make_seller().secret, "sk_live_short"):
        reply = door.post(seller, seller.tool(api_key=key))
        assert reply.code == (401, "invalid_credentials")
        assert key.encode() not in reply.body


def test_calls_that_began_before_a_key_ended_are_still_taken(
    door: Door, seller: Seller
) -> None:
    credentials.revoke(credential=seller.credential, actor=None)
    directory.forget()
    assert door.post(seller, seller.tool()).status == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_credential SET revoked_at = %s",
            [clock.now() - dt.timedelta(hours=1)],
        )
    directory.forget()
    assert door.post(seller, seller.tool()).code == (401, "invalid_credentials")
    then = (clock.now() - dt.timedelta(hours=1)).isoformat()
    assert door.post(seller, seller.tool(timestamp=then)).status == 200


def test_an_agent_is_used_by_whom_it_was_granted_to(door: Door, seller: Seller) -> None:
    friend = accounts.create_customer(
        tenant=seller.tenant, name="Friend", actor=None, external_id="cust_friend"
    )
    team = accounts.create_team(customer=friend, name="Users", actor=None)
    shared = seller.event(customerId="cust_friend", agentId="agent-7")
    assert door.post(seller, shared).code == (404, "not_found")
    AgentGrant.objects.create(
        tenant=seller.tenant, agent=seller.agent, team=team, customer=friend
    )
    directory.forget()
    assert door.post(seller, shared).code == (200, "accepted")
    [event] = seller.stored()
    assert (event.customer, event.agent, event.team) == (friend, seller.agent, team)
    before = (clock.now() - dt.timedelta(hours=1)).isoformat()
    early = door.post(seller, shared | {"timestamp": before})
    assert early.code == (404, "not_found")


def test_a_product_is_named_or_follows_from_subscription_or_credential(
    door: Door, seller: Seller
) -> None:
    contract = Subscription.objects.create(
        tenant=seller.tenant,
        customer=seller.customer,
        product=seller.product,
        started_at=clock.now(),
    )
    for event in (
        seller.event(eventId="code", productId="toolkit"),
        seller.event(eventId="id", productId=public(seller.product)),
        seller.event(eventId="subscription", subscriptionId=public(contract)),
        seller.tool(event_id="credential"),
    ):
        assert door.post(seller, event).status == 200
    assert {event.product_id for event in seller.stored()} == {seller.product.pk}


def test_a_product_that_nobody_knows_is_kept_for_rating_to_list(
    door: Door, seller: Seller
) -> None:
    assert door.post(seller, seller.event(productId="new-thing")).status == 200
    [event] = seller.stored()
    assert (event.product_id, event.body["product"]) == (None, "new-thing")


def test_unknown_metrics_models_and_tools_are_accepted(
    door: Door, seller: Seller
) -> None:
    event = seller.event(
        properties={"model": "model-of-tomorrow", "tool": "unheard-of"},
        measurements=[{"metricKey": "bananas", "value": "1.5"}],
    )
    assert door.post(seller, event).code == (200, "accepted")


def test_a_metric_of_the_tenant_may_count_in_whole_numbers(
    door: Door, seller: Seller
) -> None:
    event = seller.event(measurements=[{"metricKey": "scans", "value": 1.5}])
    assert door.post(seller, event).code == (400, "integer_required")


def test_a_session_of_another_agent_is_not_found(door: Door, seller: Seller) -> None:
    second = accounts.create_agent(
        team=seller.team, name="Kim", kind=Agent.Kind.APP, actor=None
    )
    now = clock.now()
    Session.objects.create(
        tenant=seller.tenant,
        customer=seller.customer,
        key="s-1",
        agent=second,
        started_at=now,
        last_event_at=now,
        last_received_at=now,
        currency="USD",
    )
    assert door.post(seller, seller.tool(session_id="s-1")).code == (404, "not_found")
    mine = seller.tool(api_key=None, agent_id=public(second), session_id="s-1")
    assert door.post(seller, mine).status == 200
    assert door.post(seller, seller.tool(session_id="s-2")).status == 200


def test_times_are_taken_from_35_days_ago_to_5_minutes_ahead(
    door: Door, seller: Seller
) -> None:
    now = clock.now()
    days, minutes = dt.timedelta(days=1), dt.timedelta(minutes=1)
    cases = {
        "34 days old": seller.event(timestamp=(now - 34 * days).isoformat()),
        "36 days old": seller.event(timestamp=(now - 36 * days).isoformat()),
        "4 minutes ahead": seller.event(timestamp=(now + 4 * minutes).isoformat()),
        "6 minutes ahead": seller.event(timestamp=(now + 6 * minutes).isoformat()),
    }
    assert codes(door, seller, cases) == {
        "34 days old": (200, "accepted"),
        "36 days old": (422, "too_old"),
        "4 minutes ahead": (200, "accepted"),
        "6 minutes ahead": (400, "timestamp_in_future"),
    }
    with clock.travel(now + dt.timedelta(days=2)):
        late = door.post(seller, cases["34 days old"] | {"eventId": "x"})
    assert late.code == (422, "too_old")
    assert late.json["field"] == "timestamp"


def test_usage_of_a_period_that_has_its_invoice_is_flagged_late(
    door: Door, seller: Seller
) -> None:
    now = clock.now()
    BillingPeriod.objects.create(
        tenant=seller.tenant,
        customer=seller.customer,
        start_at=now - dt.timedelta(days=30),
        end_at=now - dt.timedelta(days=1),
        timezone="UTC",
        state=BillingPeriod.State.FINALISED,
    )
    ended = now - dt.timedelta(days=1)
    for time, flags in ((ended, []), (ended - dt.timedelta(seconds=1), ["late"])):
        event = seller.event(eventId=time.isoformat(), timestamp=time.isoformat())
        assert door.post(seller, event).json["flags"] == flags


def as_caller(door: Door, seller: Seller, event: dict[str, Any]) -> Reply:
    return door.post(seller, event, authorization=f"Bearer {seller.secret}")


def test_a_caller_reports_for_itself_where_the_product_lets_it(
    door: Door, seller: Seller, make_seller: Callable[..., Seller]
) -> None:
    event = seller.event(customerId=None, eventId="e-1")
    assert as_caller(door, seller, event).code == (403, "self_reporting_off")
    seller = make_seller(self_reporting=True)
    first = as_caller(door, seller, event)
    assert first.code == (200, "accepted")
    assert first.json["event_id"] == "e-1"
    assert as_caller(door, seller, event).code == (200, "duplicate")
    # Nobody can take an id that the gateway will use.
    assert door.post(seller, seller.event(eventId="e-1")).code == (200, "accepted")
    own, _ = seller.stored()
    assert own.event_id == f"{public(seller.credential)}:e-1"
    assert (own.customer, own.agent) == (seller.customer, seller.agent)
    assert (own.credential, own.product) == (seller.credential, seller.product)


def test_a_caller_names_nobody_else(
    door: Door, make_seller: Callable[..., Seller]
) -> None:
    seller = make_seller(self_reporting=True)
    rival = accounts.create_customer(
        tenant=seller.tenant, name="Rival", actor=None, external_id="cust_rival"
    )
    team = accounts.create_team(customer=rival, name="Core", actor=None)
    agent = accounts.create_agent(
        team=team, name="Kim", kind=Agent.Kind.APP, actor=None
    )
    _, key = credentials.issue(agent=agent, products=[seller.product], actor=None)
    cases = {
        "customer": seller.event(customerId="cust_rival"),
        "agent": seller.event(customerId=None, agentId=public(agent)),
        "key": seller.tool(api_key=key),
        "product": seller.event(customerId=None, productId="nothing"),
    }
    answers = {case: as_caller(door, seller, e).code for case, e in cases.items()}
    assert answers == dict.fromkeys(cases, (404, "not_found"))
    both = as_caller(door, seller, seller.event(customerId="cust_abc"))
    assert both.code == (200, "accepted")


def test_the_times_of_callers_are_held_to_the_last_day(
    door: Door, make_seller: Callable[..., Seller]
) -> None:
    seller = make_seller(self_reporting=True)
    now = clock.now()
    day = dt.timedelta(days=1)
    for number, time in enumerate((now - 40 * day, now + 40 * day, now - day / 2)):
        event = seller.event(eventId=f"e-{number}", timestamp=time.isoformat())
        assert as_caller(door, seller, event).status == 200
        again = as_caller(door, seller, event)
        assert again.code == (200, "duplicate")
    old, ahead, fine = seller.stored()
    assert old.flags == ahead.flags == ["time_clamped"]
    assert now - day <= old.occurred_at <= clock.now() - day
    assert now <= ahead.occurred_at == ahead.received_at
    assert (fine.flags, fine.occurred_at) == ([], now - day / 2)


def test_a_client_id_and_secret_report_by_basic(
    door: Door, make_seller: Callable[..., Seller]
) -> None:
    seller = make_seller()
    server = Product.objects.create(
        tenant=seller.tenant,
        name="Server",
        code="server",
        type=ProductType.MCP_SERVER,
        self_reporting=True,
    )
    agent = accounts.create_agent(
        team=seller.team, name="Bot", kind=Agent.Kind.AGENT, actor=None
    )
    credential, secret = credentials.issue(agent=agent, products=[server], actor=None)
    assert credential.kind == Credential.Kind.CLIENT_CREDENTIALS

    def post(user: str | None, password: str) -> Reply:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        body = json.dumps({"tool_name": "t"}).encode()
        return door.post(seller, body, authorization=f"Basic {pair}")

    assert post(credential.client_id, secret).code == (200, "accepted")
    assert post("agt_other", secret).code == (401, "invalid_credentials")
    assert post(credential.client_id, seller.secret).status == 401
    named = seller.tool(api_key=None, client_id=credential.client_id)
    assert door.post(seller, named).code == (200, "accepted")
    assert {event.agent for event in seller.stored()} == {agent}
