from __future__ import annotations

from typing import Any

import pytest

from guard.engine import keys, local
from guard.engine.decision import Reason
from guard.engine.state import Quota
from guard.tests.edge import TENANT, Edge, now_ms, subscription
from guard.tests.test_engine_check import REFUSALS


def fields(edge: Edge, name: str) -> dict[str, bytes]:
    raw: Any = edge.client.hgetall(name)
    return {field.decode(): value for field, value in raw.items()}


def without_store(edge: Edge, **members: Any) -> local.Found | Reason:
    config = fields(edge, keys.config_key(edge.tag))
    return local.identify(config, edge.request(**members), now_ms(), version=1)


@pytest.mark.parametrize(("_case", "setup", "members", "reason"), REFUSALS)
def test_it_refuses_what_the_script_refuses(
    edge: Edge, _case: str, setup: dict[str, Any], members: dict[str, Any], reason: str
) -> None:
    edge.project(**setup)
    assert without_store(edge, **members) == reason


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"customer": "cust_bob", "agent": "reviewer-a", "team": "legal"},
        {"product": "code-of-prd_reviewer", "subscription": "sub_1"},
        {"client_id": "agt_client", "tenant_id": TENANT, "tenant": TENANT},
        {"digest": "", "tenant_id": TENANT, "customer": "cus_bob"},
    ],
)
def test_it_finds_whom_the_script_finds(edge: Edge, members: dict[str, Any]) -> None:
    edge.project()
    found = without_store(edge, **members)
    assert isinstance(found, local.Found)
    assert found.facts == edge.ask(**members).facts


def test_it_sees_the_limits_that_the_script_sees(edge: Edge) -> None:
    edge.project(
        requests_per_minute=10,
        tokens_per_minute=1_000,
        quotas=(Quota(metric="tokens", limit=5_000, on_exceed="deny"),),
        spend_cap=700,
        wallet=True,
        customer={"spend_cap": 9_000},
        agent={"spend_cap": 600, "team_spend_cap": 800},
    )
    edge.total(
        spend=100,
        sub_spend=50,
        available=50_000,
        tokens=40,
        spends={"agt_1": 30, "tem_1": 45},
    )
    found = without_store(edge)
    assert isinstance(found, local.Found)
    totals = fields(edge, keys.totals_key(edge.tag))
    seen = local.limits(found, totals, now_ms())
    told = edge.ask(tokens=0, amount_micros=0).limits
    assert [(one.name, one.unit, one.limit) for one in seen] == [
        (one.name, one.unit, one.limit) for one in told
    ]
    money = slice(2, 7)
    assert [one.used for one in seen[money]] == [one.used for one in told[money]]


def test_an_agents_own_subscription_goes_first_here_too(edge: Edge) -> None:
    edge.project(
        subscriptions={
            "s:prd_a": subscription(),
            "s:prd_a:agt_1": subscription(id="sub_own"),
        }
    )
    found = without_store(edge)
    assert isinstance(found, local.Found)
    assert found.subscription.id == "sub_own"
