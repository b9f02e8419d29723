"""Dimensions, outcomes and bounds on price lists and in comparisons."""

from __future__ import annotations

import json
from typing import Any

from catalog.difference import Terms, compare
from catalog.facts import charge_facts
from catalog.price_list import prices, public_json
from catalog.pricing import Plan, parse_plan

DIMENSIONS: dict[str, Any] = {
    "model": "dimensions",
    "tool_invocations": {"search": "0.10", "*": "0.002"},
    "token_multipliers": {"output_tokens": "0.000002"},
    "tool_multipliers": {"search": "2"},
    "duration_buckets": [{"max_seconds": "60", "rate": "0.1"}],
    "error_rate_penalties": {"threshold": "0.05", "multiplier": "1.5"},
    "volume_discounts": [{"min_invocations": 1000, "percent": "10"}],
    "base_session_fee": "5",
    "included_tool_count": 100,
}
COMPOUND: dict[str, Any] = {
    "model": "compound",
    "outcome": {
        "all": [
            {"event_type": "doc.parsed"},
            {
                "event_type": "llm.completion",
                "at_least": 2,
                "where": {"status": "SUCCESS"},
            },
        ],
        "within_seconds": 1800,
    },
    "absorbs": ["input_tokens", "vector_lookups"],
    "price": {"model": "per_unit", "unit_amount": "0.85"},
}


def plan(price: dict[str, Any], **more: Any) -> Plan:
    """Return a plan of one charge."""
    charge = {"key": "work", "name": "Work", "price": price, **more}
    return parse_plan({"currency": "USD", "charges": [charge]})


def test_every_rate_of_dimensions_is_a_row() -> None:
    (shown,) = prices(plan(DIMENSIONS))
    assert [(row.units, row.price) for row in shown.tiers] == [
        ("A session", "$5.00"),
        ("Calls in it", "100"),
        ("Call of search", "$0.10"),
        ("Call of another tool", "$0.002"),
        ("One of output tokens", "$0.000002"),
        ("Tokens of search", "× 2"),
        ("A call up to 60 s", "$0.10"),
        ("Sessions with over 5 % errors", "× 1.5"),
        ("Discount from 1,000 calls", "10 %"),
    ]
    assert shown.counts == ""


def test_an_outcome_is_shown_to_staff_and_only_its_price_to_others() -> None:
    whole = plan(COMPOUND, unit="contracts", maximum="100")
    (shown,) = prices(whole)
    assert shown.words == "$0.85 per contract, at most $100.00 a month"
    assert shown.counts == (
        "doc.parsed and 2 × llm.completion when status is SUCCESS of one correlation"
        " id within 30 minutes"
    )
    (public,) = public_json(whole)["charges"]
    assert public["price"] == {"model": "per_unit", "unit_amount": "0.85"}
    text = json.dumps(public)
    for hidden in ("input_tokens", "vector_lookups", "doc.parsed", "absorbs"):
        assert hidden not in text


def test_bounds_and_rates_can_be_compared() -> None:
    (charge,) = plan(
        DIMENSIONS, discount_percent="12.5", minimum="5", maximum="900"
    ).charges
    facts = {fact.key: fact.words for fact in charge_facts(charge, "USD")}
    assert facts["discount"] == "12.5 %"
    assert facts["least"] == "$5.00"
    assert facts["most"] == "$900.00"
    assert facts["tool.search"] == "$0.10"
    (outcome,) = plan(COMPOUND).charges
    shown = {fact.key: fact.words for fact in charge_facts(outcome, "USD")}
    assert shown["absorbs"] == "input_tokens, vector_lookups"
    assert shown["price"] == "$0.85 per outcome"


CONDITIONS: dict[str, Any] = {
    **COMPOUND,
    "confirm": {"event_type": "ticket.confirmed", "within_seconds": 259200},
    "reverse": {
        "event_type": "ticket.reopened",
        "where": {"by": "user"},
        "within_seconds": 5400,
    },
    "cost_budget": {"amount": "0.50", "overage_percent": "130"},
}


def test_what_an_outcome_hangs_on_is_told_to_all_without_what_is_metered() -> None:
    whole = plan(CONDITIONS, unit="contracts")
    (shown,) = prices(whole)
    assert shown.words == (
        "$0.85 per contract, charged when confirmed within 3 days, taken back when"
        " reversed within 90 minutes, plus 130 % of the cost beyond $0.50 each"
    )
    (public,) = public_json(whole)["charges"]
    assert public["price"] == {
        "model": "per_unit",
        "unit_amount": "0.85",
        "cost_budget": {"amount": "0.5", "overage_percent": "130"},
    }
    for hidden in ("ticket.", "input_tokens", "vector_lookups", "doc.parsed"):
        assert hidden not in json.dumps(public)
        assert hidden not in shown.words


def test_what_an_outcome_hangs_on_can_be_compared() -> None:
    old, new = (
        Terms(plan(price), {}, prorate=False) for price in (COMPOUND, CONDITIONS)
    )
    (changed,) = compare(old, new).charges
    assert [(c.label, c.new) for c in changed.changes] == [
        ("Charged when", "ticket.confirmed within 3 days"),
        ("Taken back by", "ticket.reopened when by is user within 90 minutes"),
        ("Cost budget", "$0.50"),
        ("Of the cost beyond it", "130 %"),
    ]
