"""What a backtest says over all customers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from metering.backtest_figures import breakeven, changes, percentile, summarise


def bill(amount: str, fees: str = "0") -> dict[str, Any]:
    """Return a bill as rows keep it."""
    return {"amount": amount, "exact": amount, "fees": fees, "lines": []}


def row(old: str | None, *new: str, cost: str = "0", **more: Any) -> dict[str, Any]:
    """Return a row's figures."""
    return {
        "events": 1,
        "cost": cost,
        "unknown": 0,
        "old": None if old is None else bill(old),
        "new": [bill(amount) for amount in new],
        **more,
    }


def test_sums_differences_and_margins_are_worked_out_for_each_plan() -> None:
    rows = [
        row("100", "110", "90", cost="50"),
        row("50", "80", "50", cost="60"),
        {"left_out": "no_subscription"},
    ]
    result = summarise(rows, plan_count=2)
    assert result["customers"] == 2
    assert result["left_out"] == {"no_subscription": 1}
    assert result["cost"] == "110"
    first, second = result["plans"]
    assert (first["old"], first["new"], first["difference"]) == ("150", "190", "40")
    assert first["ratio"] == "0.266666666667"
    assert first["margin"] == "0.421052631579"
    assert first["margins"] == {
        "p5": "0.25",
        "p50": "0.25",
        "p95": "0.545454545455",
    }
    assert (first["shocks"], first["unprofitable"]) == (1, 0)
    assert (second["unprofitable"], second["turned"]) == (1, 0)
    assert second["difference"] == "-10"


@pytest.mark.parametrize(
    ("old", "new", "shock"),
    [
        ("100", "120", False),
        ("100", "120.01", True),
        ("0", "0.01", True),
        ("0", "0", False),
        ("100", "20", False),
        (None, "20", False),
    ],
)
def test_a_shock_is_more_than_a_fifth(old: str | None, new: str, shock: bool) -> None:
    (change,) = changes(row(old, new))
    assert change.is_shock is shock


@pytest.mark.parametrize(
    ("old", "new", "turns"),
    [("12", "9", True), ("9", "8", False), ("12", "10", False), (None, "9", False)],
)
def test_who_turns_unprofitable_covered_the_cost_before(
    old: str | None, new: str, turns: bool
) -> None:
    (change,) = changes(row(old, new, cost="10"))
    assert change.turns_unprofitable is turns


def test_a_margin_needs_all_costs_and_some_revenue() -> None:
    rows = [row("1", "2", cost="1", unknown=3), row("0", "0", cost="1")]
    assert [changes(r)[0].margin for r in rows] == [None, None]
    result = summarise(rows, plan_count=1)
    assert result["unknown"] == 3
    assert result["plans"][0]["margins"] == {"p5": None, "p50": None, "p95": None}


def test_bills_in_another_currency_are_counted_and_not_compared() -> None:
    result = summarise([row(None, "7"), row("10", "11")], plan_count=1)
    (plan,) = result["plans"]
    assert (plan["incomparable"], plan["old"], plan["new"]) == (1, "10", "18")
    assert plan["difference"] == "1"


def test_nobody_gives_empty_figures() -> None:
    (plan,) = summarise([], plan_count=1)["plans"]
    assert (plan["ratio"], plan["margin"], plan["breakeven"]) == (None, None, "0")


@pytest.mark.parametrize(
    ("usage", "fees", "cost", "factor"),
    [
        ("100", "0", "50", "0.5"),
        ("100", "20", "150", "1.3"),
        ("100", "60", "50", "0"),
        ("0", "10", "50", None),
        ("3", "0", "1", "0.333333333333"),
    ],
)
def test_breakeven_is_the_factor_on_the_prices_of_usage(
    usage: str, fees: str, cost: str, factor: str | None
) -> None:
    assert breakeven(Decimal(usage), Decimal(fees), Decimal(cost)) == factor


def test_percentiles_are_values_of_somebody() -> None:
    values = [Decimal(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (5, 50, 95)] == [5, 50, 95]
    assert percentile(values[:1], 95) == 1
    assert percentile([], 50) is None
