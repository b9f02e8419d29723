"""Commitments: paid when the period opens, drawn down, and the overage beyond them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.describe import describe
from catalog.facts import charge_facts
from catalog.pricing import (
    Own,
    PlanError,
    closing,
    explain,
    lint,
    opening,
    parse_plan,
    plan_of_contract,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
    total,
)
from catalog.pricing.state import Dims
from catalog.tests.dimension_kit import call, plan
from catalog.tests.pricing_kit import amount, priced

COMMITTED: dict[str, Any] = {
    "tool_invocations": {"*": "0.01"},
    "billing_mode": "COMMITTED",
    "committed_amount": 1_000_000,
    "committed_price": "10000",
}


def used(calls: int) -> dict[str, Dims]:
    """Return a period with so many calls."""
    use = {"tool:*": Decimal(calls)} if calls else {}
    return {KEY: Dims(use, {}, calls, 0)}


KEY = plan(**COMMITTED).charges[0].key


@pytest.mark.parametrize(
    ("_case", "calls", "expected"),
    [
        ("nothing used", 0, "10000"),
        ("inside", 999_999, "10000"),
        ("exactly used up", 1_000_000, "10000"),
        ("one beyond", 1_000_001, "10000.01"),
        ("50,000 beyond", 1_050_000, "10500"),
    ],
)
def test_a_period_costs_the_commitment_and_what_goes_beyond(_case, calls, expected):
    model = plan(**COMMITTED)
    assert amount(total(model, used(calls))) == Decimal(expected)
    assert amount(opening(model)) == Decimal(10_000)
    assert closing(model, used(calls)) == ()


def test_allocations_do_not_pool_and_one_commitment_for_all_does():
    model = plan(**COMMITTED)
    shares = [(300_000, "3000"), (500_000, "5000"), (200_000, "2000")]
    calls = [350_000, 400_000, 200_000]
    bills = []
    for (allocated, cost), used_calls in zip(shares, calls, strict=True):
        own = Own(commitment={"amount": allocated, "price": cost})
        bills.append(amount(total(plan_of_contract(model, own), used(used_calls))))
    assert bills == [Decimal(3_500), Decimal(5_000), Decimal(2_000)]
    assert sum(bills) == Decimal(10_500)
    assert amount(total(model, used(sum(calls)))) == Decimal(10_000)


def test_the_steps_say_commitment_drawdown_and_overage_and_add_up():
    own = Own(commitment={"amount": 300_000, "price": "3000"})
    (line,) = price(plan_of_contract(plan(**COMMITTED), own), used(350_000))
    assert explain(line) == (
        "commitment of 300,000 calls = $3,000.00",
        "350,000 of 300,000 committed calls = $0.00",
        "50,000 × $0.01 beyond the commitment = $500.00",
    )
    assert sum(step.amount for step in line.steps) == line.amount == Decimal(3_500)


def test_it_is_said_in_words_and_figures():
    model = plan(**COMMITTED)
    words = "$10,000.00 a month for 1,000,000 calls, then $0.01 a call"
    assert words in describe(model)
    facts = {f.key: (f.label, f.words) for f in charge_facts(model.charges[0], "USD")}
    assert facts["committed_amount"] == ("Committed calls", "1,000,000")
    assert facts["committed_price"] == ("Commitment a month", "$10,000.00")
    assert facts["tool.*"] == ("Call beyond them", "$0.01")


def test_a_commitment_that_costs_more_than_paying_as_one_goes_is_doubted():
    assert lint(plan(**COMMITTED)) == ()
    dear = plan(**{**COMMITTED, "committed_price": "10000.01"})
    assert [f.code for f in lint(dear)] == ["commitment_dearer"]


@pytest.mark.parametrize(
    ("changed", "code", "member"),
    [
        ({"billing_mode": "PREPAID"}, "unknown_choice", "billing_mode"),
        ({"billing_mode": "PAY_AS_YOU_GO"}, "unsupported", "committed_amount"),
        ({"committed_amount": 0}, "out_of_range", "committed_amount"),
        ({"committed_amount": "many"}, "wrong_type", "committed_amount"),
        ({"committed_amount": None}, "wrong_type", "committed_amount"),
        ({"committed_price": "-1"}, "negative", "committed_price"),
        (
            {"tool_invocations": {"*": "1", "a": "2"}},
            "unsupported",
            "tool_invocations",
        ),
        ({"tool_invocations": {}}, "unsupported", "tool_invocations"),
        (
            {"volume_tiers": [{"min_invocations": 0, "rate": "1"}]},
            "unsupported",
            "volume_tiers",
        ),
        (
            {"error_rate_penalties": {"threshold": "0.1", "multiplier": "2"}},
            "unsupported",
            "error_rate_penalties",
        ),
        ({"included_tool_count": 5}, "unsupported", "included_tool_count"),
    ],
)
def test_what_a_commitment_cannot_be_is_refused_with_its_path(changed, code, member):
    with pytest.raises(PlanError) as found:
        plan(**{**COMMITTED, **changed})
    assert found.value.code == code
    assert found.value.path == f"charges[0].price.{member}"


@pytest.mark.parametrize("name", ["committed_amount", "committed_price"])
def test_a_commitment_needs_both_figures(name):
    with pytest.raises(PlanError) as found:
        plan(**{k: v for k, v in COMMITTED.items() if k != name})
    assert found.value.code == "missing_key"


def shadow(members: dict[str, Any], calls: int, tokens: int) -> Decimal:
    """Return what a period costs, written down once more and slowly."""
    beyond = sum(1 for number in range(calls) if number >= members["committed_amount"])
    rate = Decimal(members["tool_invocations"]["*"])
    bill = Decimal(0)
    for _ in range(beyond):
        bill += rate
    for _ in range(calls):
        bill += tokens * Decimal(members.get("token_multipliers", {}).get("t", "0"))
    off = Decimal(0)
    for level in members.get("volume_discounts", []):
        if calls >= level["min_invocations"]:
            off = Decimal(level["percent"])
    sessions = Decimal(members.get("base_session_fee", "0")) if calls else Decimal(0)
    return bill * (100 - off) / 100 + sessions + Decimal(members["committed_price"])


@given(
    st.fixed_dictionaries(
        {
            "tool_invocations": st.fixed_dictionaries(
                {"*": st.sampled_from(["0.01", "0", "2.5"])}
            ),
            "billing_mode": st.just("COMMITTED"),
            "committed_amount": st.integers(1, 8),
            "committed_price": st.sampled_from(["0", "3", "0.05"]),
        },
        optional={
            "token_multipliers": st.just({"t": "0.0000005"}),
            "volume_discounts": st.just([{"min_invocations": 4, "percent": "10"}]),
            "base_session_fee": st.just("5"),
        },
    ),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=12),
    st.integers(0, 1000),
    st.randoms(use_true_random=False),
)
def test_any_order_of_calls_costs_what_the_shadow_says(members, tools, tokens, random):
    model = plan(**members)
    assert parse_plan(plan_to_json(model)) == model
    events = [call(n, tool, session="s", t=tokens) for n, tool in enumerate(tools)]
    random.shuffle(events)
    state: Any = {}
    lines = list(opening(model))
    for event in events:
        outcomes, state = rate_many(model, state, [event])
        lines += priced(outcomes)
        state = state_from_json(state_to_json(state))
    assert all(sum(s.amount for s in line.steps) == line.amount for line in lines)
    whole = amount(lines) + amount(closing(model, state))
    assert whole == amount(total(model, state)) == amount(total(model, events))
    assert whole == shadow(members, len(tools), tokens)
