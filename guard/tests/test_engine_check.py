from __future__ import annotations

import time
from typing import Any

import pytest

from guard.engine import check, keys
from guard.engine.decision import Cold, Outcome
from guard.engine.state import LimitTooLarge, Quota
from guard.tests.edge import TENANT, Edge, now_ms, subscription


def test_a_customer_without_projection_is_cold(edge: Edge) -> None:
    assert check.check(edge.client, edge.request()) == Cold(edge.tag)


def test_configuration_without_totals_is_cold(edge: Edge) -> None:
    edge.project()
    edge.client.delete(keys.totals_key(edge.tag))
    assert isinstance(check.check(edge.client, edge.request()), Cold)


def test_a_flushed_store_is_cold_and_not_zero(edge: Edge) -> None:
    edge.project(customer={"spend_cap": 5})
    edge.total(spend=5)
    assert edge.verdict() == "spend_cap.customer.period"
    edge.client.flushdb()
    assert isinstance(check.check(edge.client, edge.request()), Cold)


def test_a_known_credential_is_allowed(edge: Edge) -> None:
    edge.project()
    decision = edge.ask()
    assert decision.outcome == Outcome.ALLOW
    assert decision.facts is not None
    assert decision.facts.customer_id == "cus_bob"
    assert decision.facts.agent_id == "agt_1"
    assert decision.facts.subscription_id == "sub_1"
    assert decision.facts.credential_id == "crd_1"


REFUSALS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("unknown secret", {}, {"digest": "e" * 64}, "credential.unknown"),
    ("revoked", {"credential": {"revoked": True}}, {}, "credential.revoked"),
    ("expired", {"credential": {"expires_at": 1}}, {}, "credential.expired"),
    ("other client id", {}, {"client_id": "agt_x"}, "credential.unknown"),
    ("other tenant's key", {}, {"tenant_id": "ten_other"}, "credential.unknown"),
    (
        "customer of another tenant",
        {},
        {"digest": "", "tenant_id": "ten_other"},
        "identity.unknown",
    ),
    ("other tenant named", {}, {"tenant": "ten_other"}, "identity.unknown"),
    ("other customer named", {}, {"customer": "cus_eve"}, "identity.unknown"),
    ("unknown agent named", {}, {"agent": "agt_2"}, "identity.unknown"),
    ("other team named", {}, {"team": "sales"}, "identity.unknown"),
    ("other subscription", {}, {"subscription": "sub_2"}, "identity.unknown"),
    ("suspended", {"customer": {"state": "suspended"}}, {}, "customer.suspended"),
    ("paused agent", {"agent": {"state": "paused"}}, {}, "agent.paused"),
    ("unknown product", {}, {"product": "prd_x"}, "product.not_entitled"),
    (
        "product the key does not reach",
        {"credential": {"products": ("prd_other",)}},
        {},
        "product.not_entitled",
    ),
    ("feature", {}, {"feature": "ocr"}, "feature.not_entitled"),
    ("paused contract", {"state": "paused"}, {}, "subscription.inactive"),
    ("ended contract", {"ends_at": 1}, {}, "subscription.inactive"),
    ("future contract", {"starts_at": 2**42}, {}, "subscription.inactive"),
]


@pytest.mark.parametrize(("_case", "setup", "members", "reason"), REFUSALS)
def test_it_refuses_by_state(
    edge: Edge,
    _case: str,
    setup: dict[str, Any],
    members: dict[str, Any],
    reason: str,
) -> None:
    edge.project(**setup)
    decision = edge.ask(**members)
    assert (decision.outcome, decision.reason) == (Outcome.DENY, reason)
    assert not edge.client.exists(*keys.customer_keys(edge.tag)[2:])


@pytest.mark.parametrize(
    "members",
    [
        {"customer": "cus_bob"},
        {"customer": "cust_bob"},
        {"agent": "agt_1"},
        {"agent": "reviewer-a"},
        {"team": "tem_1"},
        {"team": "legal"},
        {"subscription": "sub_1"},
        {"product": "prd_reviewer"},
        {"product": "code-of-prd_reviewer"},
        {"client_id": "agt_client"},
        {"tenant_id": TENANT},
        {"tenant": TENANT},
        {"digest": "", "tenant_id": TENANT, "customer": "cus_bob"},
    ],
)
def test_names_that_agree_with_the_credential_pass(
    edge: Edge, members: dict[str, Any]
) -> None:
    edge.project()
    assert edge.verdict(**members) == "allow"


@pytest.mark.parametrize(
    "name", ["}", "{x}", "a\nb", "*", "') redis.call('flushall') --", "", "é" * 90]
)
def test_strange_names_are_data(edge: Edge, name: str) -> None:
    edge.project()
    before = edge.client.dbsize()
    edge.ask(agent=name, product=name, request_id=name or "x")
    edge.ask(units={name or "x": 5})
    assert edge.client.dbsize() <= before + 4
    assert all(edge.tag.encode() in key for key in edge.client.keys("*"))


def test_two_products_and_none_named_is_ambiguous(edge: Edge) -> None:
    edge.project(
        subscriptions={"s:prd_a": subscription(), "s:prd_b": subscription(id="sub_2")}
    )
    assert edge.verdict() == "product.ambiguous"
    assert edge.verdict(product="prd_b") == "allow"


def test_a_credential_for_one_of_two_products_needs_no_name(edge: Edge) -> None:
    edge.project(
        credential={"products": ("prd_b",)},
        subscriptions={"s:prd_a": subscription(), "s:prd_b": subscription(id="sub_2")},
    )
    decision = edge.ask()
    assert decision.facts is not None
    assert decision.facts.subscription_id == "sub_2"


def test_an_agents_own_subscription_goes_first(edge: Edge) -> None:
    edge.project(
        subscriptions={
            "s:prd_a": subscription(),
            "s:prd_a:agt_1": subscription(id="sub_own"),
        }
    )
    decision = edge.ask()
    assert decision.facts is not None
    assert decision.facts.subscription_id == "sub_own"


LIMITS: list[tuple[str, dict[str, Any], str]] = [
    ("requests", {"requests_per_minute": 0}, "requests.subscription.minute"),
    ("tokens", {"tokens_per_minute": 0}, "tokens.subscription.minute"),
    (
        "quota",
        {"quotas": (Quota(metric="tokens", limit=0, on_exceed="deny"),)},
        "quota.subscription.period",
    ),
    ("agent cap", {"agent": {"spend_cap": 0}}, "spend_cap.agent.period"),
    ("team cap", {"agent": {"team_spend_cap": 0}}, "spend_cap.team.period"),
    ("plan cap", {"spend_cap": 0}, "spend_cap.subscription.period"),
    ("customer cap", {"customer": {"spend_cap": 0}}, "spend_cap.customer.period"),
    ("wallet", {"wallet": True}, "wallet.customer.balance"),
]


@pytest.mark.parametrize(("_case", "limits", "reason"), LIMITS)
def test_a_limit_of_zero_blocks_everything(
    edge: Edge, _case: str, limits: dict[str, Any], reason: str
) -> None:
    edge.project(**limits)
    decision = edge.ask(tokens=1, amount_micros=0)
    assert decision.reason == reason
    assert decision.binding is not None
    assert decision.binding.remaining == 0
    assert decision.retry_at_ms > decision.now_ms


def test_no_limit_is_no_bound(edge: Edge) -> None:
    edge.project()
    edge.total(spend=2**50, tokens=2**50)
    decision = edge.ask(tokens=2**40, amount_micros=2**40)
    assert decision.outcome == Outcome.ALLOW
    assert decision.limits == ()


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_minute": 2**53 + 1},
        {"spend_cap": -1},
        {"customer": {"spend_cap": 2**60}},
        {"agent": {"spend_cap": 2**60}},
        {"agent": {"team_spend_cap": -1}},
        {"quotas": (Quota(metric="tokens", limit=2**54, on_exceed="deny"),)},
        {"estimate_prices": {"input_tokens": 2**54}},
    ],
)
def test_a_limit_above_two_to_the_53_is_refused_as_configuration(
    edge: Edge, limits: dict[str, Any]
) -> None:
    with pytest.raises(LimitTooLarge):
        edge.project(**limits)


def test_a_refusal_moves_no_counter(edge: Edge) -> None:
    edge.project(requests_per_minute=100, spend_cap=1_000)
    edge.ask(amount_micros=600)
    before = [edge.client.dump(key) for key in keys.customer_keys(edge.tag)]
    assert edge.verdict(amount_micros=600) == "spend_cap.subscription.period"
    assert [edge.client.dump(key) for key in keys.customer_keys(edge.tag)] == before


def test_the_first_refusal_wins(edge: Edge) -> None:
    edge.project(requests_per_minute=1, tokens_per_minute=1, customer={"spend_cap": 1})
    edge.total(spend=5)
    assert edge.verdict(tokens=5) == "tokens.subscription.minute"
    assert edge.verdict(tokens=1) == "spend_cap.customer.period"


@pytest.mark.parametrize(
    ("_case", "members", "micros"),
    [
        ("money", {"amount_micros": 7}, 7),
        ("units round up", {"units": {"input_tokens": 1}}, 3),
        ("a sum of units", {"units": {"input_tokens": 100, "output_tokens": 10}}, 450),
        ("a part of a micro", {"units": {"cheap": 1}}, 1),
        ("nothing said", {}, 10_000),
        ("a unit without price", {"units": {"pages": 3}}, 10_000),
        ("tokens alone", {"tokens": 10}, 150),
        ("large", {"units": {"input_tokens": 999_999_999_999}}, 2_999_999_999_997),
        ("large and dear", {"units": {"dear": 1_234_567}}, 1_219_325_443_209_869),
    ],
)
def test_the_estimate_is_exact_and_rounds_up(
    edge: Edge, _case: str, members: dict[str, Any], micros: int
) -> None:
    edge.project(
        estimate_prices={
            "input_tokens": 3_000_000,
            "output_tokens": 15_000_000,
            "tokens": 15_000_000,
            "cheap": 1,
            "dear": 987_654_329_987_654,
        }
    )
    decision = edge.ask(**members)
    assert decision.estimate_micros == micros
    assert decision.estimate_defaulted == (micros == 10_000)


def test_an_estimate_above_two_to_the_52_is_refused(edge: Edge) -> None:
    edge.project()
    assert edge.verdict(units={"output_tokens": 2**52}) == "estimate.too_large"


def test_an_estimate_above_the_ceiling_is_denied(edge: Edge) -> None:
    edge.project()
    decision = edge.ask(amount_micros=11, ceiling_micros=10)
    assert decision.reason == "ceiling.request.call"
    assert edge.verdict(amount_micros=10, ceiling_micros=10) == "allow"


def test_an_estimate_of_zero_counts_one_request(edge: Edge) -> None:
    edge.project(requests_per_minute=2)
    assert [edge.verdict(amount_micros=0) for _ in range(3)] == [
        "allow",
        "allow",
        "requests.subscription.minute",
    ]


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [("deny", "deny"), ("throttle", "throttle"), ("bill", "allow"), ("alert", "allow")],
)
def test_a_quota_does_what_its_plan_says(edge: Edge, policy: str, verdict: str) -> None:
    edge.project(
        quotas=(Quota(metric="tokens", limit=100, on_exceed=policy),),
        throttle_model="gpt-4o-mini",
    )
    edge.total(tokens=90)
    assert edge.ask(tokens=10).outcome == Outcome.ALLOW
    decision = edge.ask(tokens=1)
    assert decision.outcome == verdict
    assert decision.facts is not None
    assert decision.facts.throttle_model == "gpt-4o-mini"


def test_totals_of_a_window_that_is_over_read_as_zero(edge: Edge) -> None:
    edge.project(customer={"spend_cap": 100})
    edge.total(spend=100, ends_in_ms=400)
    assert edge.verdict(amount_micros=1) == "spend_cap.customer.period"
    time.sleep(0.45)
    decision = edge.ask(amount_micros=1)
    assert decision.outcome == Outcome.ALLOW
    assert decision.limits[0].reset_at_ms > now_ms() + 3_000_000
