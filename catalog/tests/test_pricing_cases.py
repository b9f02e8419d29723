"""Worked cases of other billing systems: run, or listed with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catalog.pricing import (
    Plan,
    PlanState,
    Unrateable,
    UsageEvent,
    collect,
    price,
    rate,
    rate_many,
    total,
    true_ups,
)
from catalog.pricing.exact import divide
from catalog.tests.pricing_kit import (
    START,
    amount,
    charge,
    event,
    plan_of,
    summed,
    tiers,
)

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "cases" / "pricing.json").read_text()
)["cases"]
BY_ID = {case["id"]: case for case in CASES}

# What a charge alone cannot say, and where it is run.
ELSEWHERE = {
    "pc123": "proration by days: billing/tests/test_proration_cases.py",
    "pc125": "proration by days: billing/tests/test_proration_cases.py",
    "pc129": "wallet: billing/tests/test_wallet_cases.py",
    "pc131": "wallet: billing/tests/test_wallet_cases.py",
    "pc133": "invoice, but for its credit note: billing/tests/test_wallet_cases.py",
}
# What Aforo decides otherwise or does not offer, and why; see docs/pricing.md.
DIFFERENT = {
    "pc027": "a negative quantity is refused; usage is taken back by reversing it",
    "pc047": "a quantity counts in full: no proration of units within the period",
    "pc081": "a started package counts: packages never round down",
    "pc083": "a charge has one package size: sizes by tier are two charges",
    "pc127": "a quantity counts in full: no level weighted by the days it lasted",
    "pc135": "a grant that has expired does not roll over",
    "pc137": "a quantity counts in full: no proration of units within the period",
}


def _tiers(case: dict[str, Any], unit: str = "unit_amount") -> list[dict[str, Any]]:
    """Return the case's tiers as plan JSON; rates in percent become prices."""
    share = Decimal(100 if unit == "rate_percent" else 1)
    return [
        {
            "up_to": None if row["up_to"] is None else str(row["up_to"]),
            "unit_amount": format(Decimal(row[unit]) / share, "f"),
            "flat_amount": row["flat_amount"],
        }
        for row in case["params"]["tiers"]
    ]


def _quantity_case(case: dict[str, Any], model: dict[str, Any]) -> Decimal:
    """Price the case's quantity, given as one figure or on top of what was billed."""
    plan = plan_of(charge("units", model))
    usage = case["usage"]
    if isinstance(usage, dict):
        before = collect(plan, [event(1, units=usage["already_billed_units"])])
        return amount(rate(plan, before, event(2, units=usage["new_units"])).lines)
    return amount(price(plan, collect(plan, [event(1, units=usage)])))


def _tiered(case: dict[str, Any]) -> Decimal:
    """Run a graduated or volume case."""
    return _quantity_case(case, {"model": case["model"], "tiers": _tiers(case)})


def _graduated_percentage(case: dict[str, Any]) -> Decimal:
    """Run percentages by tier: graduated prices for a sum of money."""
    model = {"model": "graduated", "tiers": _tiers(case, "rate_percent")}
    return _quantity_case(case, model)


def _per_unit(case: dict[str, Any]) -> Decimal:
    """Run one price for all units."""
    return _quantity_case(case, {"model": "per_unit", **case["params"]})


def _package(case: dict[str, Any]) -> Decimal:
    """Run packages, behind free units if there are any."""
    params = case["params"]
    model: dict[str, Any] = {
        "model": "package",
        "size": str(params["package_size"]),
        "amount": params["amount"],
    }
    if params["free_units"]:
        units = str(params["free_units"])
        model = {"model": "included", "units": units, "overage": model}
    return _quantity_case(case, model)


def _volume_package(case: dict[str, Any]) -> Decimal:
    """Run tiers over packages; the case counts units, our tiers count packages."""
    size = case["params"]["package_size"]
    rows = _tiers(case)
    for row in rows:
        if row["up_to"] is not None:
            row["up_to"] = str(int(row["up_to"]) // size)
    prices = {"model": "volume", "tiers": rows}
    return _quantity_case(
        case, {"model": "package", "size": str(size)} | {"price": prices}
    )


def _converted(case: dict[str, Any]) -> Decimal:
    """Run a conversion that rounds up: a package of the divisor's size."""
    params = case["params"]
    assert params["rounding"] == "ceiling"
    prices = (
        {"model": "graduated", "tiers": _tiers(case)}
        if "tiers" in params
        else {"model": "per_unit", "unit_amount": params["unit_amount"]}
    )
    size = str(params["divide_by"])
    return _quantity_case(case, {"model": "package", "size": size, "price": prices})


def _percentage(case: dict[str, Any]) -> Decimal:
    """Run fees of single events; their amounts follow from the running totals."""
    params, usage = case["params"], case["usage"]
    model: dict[str, Any] = {"model": "percentage", "rate": params["rate_percent"]}
    names = {
        "fixed_per_event": "fixed_amount",
        "per_event_min": "minimum",
        "per_event_max": "maximum",
        "free_events": "free_events",
        "free_total": "free_amount",
    }
    for theirs, ours in names.items():
        # There, an allowance of "0" means that there is none.
        if params.get(theirs) not in (None, "0"):
            model[ours] = params[theirs]
    values = usage.get("event_amounts") or _event_amounts(usage)
    plan = plan_of(charge("units", model))
    events = [event(number, units=value) for number, value in enumerate(values)]
    return amount(price(plan, collect(plan, events)))


def _event_amounts(usage: dict[str, Any]) -> list[str]:
    """Return amounts of events that have these running totals and this sum."""
    running = [Decimal(0), *map(Decimal, usage["running_totals"])]
    values = [running[n + 1] - running[n] for n in range(len(running) - 1)]
    others = usage["events"] - len(values)
    rest = Decimal(usage["total"]) - running[-1]
    values += [rest] + [Decimal(0)] * (others - 1)
    return [str(value) for value in values]


def _dynamic(case: dict[str, Any]) -> Decimal:
    """Run events that bring their own amounts: all of them, at 100 %."""
    plan = plan_of(charge("units", {"model": "percentage", "rate": "100"}))
    cents = case["usage"]["event_amount_cents"]
    events = [
        event(number, units=str(Decimal(value) / 100))
        for number, value in enumerate(cents)
    ]
    return amount(price(plan, collect(plan, events)))


def _token_cost(case: dict[str, Any]) -> Decimal:
    """Run a markup: tokens priced as our cost, billed at 100 % plus the markup."""
    params = case["params"]
    prices = {
        "input_tokens": "input_per_million",
        "output_tokens": "output_per_million",
    }
    costs = plan_of(
        *(
            charge(
                key, {"model": "per_unit", "unit_amount": params[name], "per": 1000000}
            )
            for key, name in prices.items()
        )
    )
    cost = amount(rate(costs, {}, event(1, **case["usage"])).lines)
    percent = str(100 + int(params["markup_percent"]))
    metric = {"key": "cost", "aggregation": "sum", "cogs": True}
    plan = plan_of(
        charge("markup", {"model": "percentage", "rate": percent}, metric=metric)
    )
    return amount(rate(plan, {}, event(1, cost=str(cost))).lines)


def _minimum(case: dict[str, Any]) -> Decimal:
    """Run tiers with a minimum: the whole period, or only what makes up for it."""
    model = {"model": case["model"].partition("+")[0], "tiers": _tiers(case)}
    least = case["params"]["minimum_amount"]
    plan = plan_of({**charge("units", model), "minimum": least})
    usage = case["usage"]
    if isinstance(usage, dict):
        assert usage["new_units"] == "0"
        state = collect(plan, [event(1, units=usage["already_billed_units"])])
        return amount(true_ups(plan, state))
    return amount(total(plan, [event(1, units=usage)]))


def _maximum(case: dict[str, Any]) -> Decimal:
    """Run a price by the unit with a maximum, on top of what was billed, in cents."""
    params, usage = case["params"], case["usage"]
    unit = params.get("unit_amount") or params["multiplier"]
    model = {"model": "per_unit", "unit_amount": unit}
    plan = plan_of({**charge("units", model), "maximum": params["maximum_amount"]})
    before = collect(plan, [event(1, units=usage["already_billed_units"])])
    added = rate(plan, before, event(2, units=usage["new_units"]))
    return amount(added.lines).quantize(Decimal("0.01"))


def _shared_minimum(case: dict[str, Any]) -> Decimal:
    """Run a minimum of a part of a period, in cents."""
    params = case["params"]
    days, whole = Decimal(params["days_used"]), Decimal(params["days_in_period"])
    model = {"model": "per_unit", "unit_amount": params["unit_amount"]}
    plan = plan_of({**charge("units", model), "minimum": params["charge_minimum"]})
    state = collect(plan, [event(1, units=case["usage"])])
    lines = true_ups(plan, state, lambda least: divide(least * days, whole))
    return amount(lines).quantize(Decimal("0.01"))


def _bucketed(case: dict[str, Any], model: dict[str, Any], values: str) -> Decimal:
    """Run the largest value of each day, or the sum, priced day by day."""
    aggregation = "max" if values == "bucket_values" else "sum"
    metric = {**summed("units"), "aggregation": aggregation, "window": "day"}
    plan = plan_of(charge("units", model, metric=metric))
    events = [
        event(day, at=START + timedelta(days=day, minutes=minute), units=value)
        for day, text in enumerate(case["usage"][values])
        # A smaller one beside the largest; parts of the sum.
        for minute, value in enumerate(
            (text, str(Decimal(text) / 2)) if aggregation == "max" else (text, "0")
        )
    ]
    return amount(price(plan, collect(plan, events)))


def _bucketed_package(case: dict[str, Any]) -> Decimal:
    """Run packages, started anew in each bucket."""
    size, each = str(case["params"]["package_size"]), case["params"]["amount"]
    model = {"model": "package", "size": size, "amount": each}
    return _bucketed(case, model, "bucket_values")


def _bucketed_volume(case: dict[str, Any]) -> Decimal:
    """Run volume tiers, chosen bucket by bucket."""
    model = {"model": "volume", "tiers": _tiers(case)}
    return _bucketed(case, model, "bucket_values")


def _windowed_commitment(case: dict[str, Any]) -> Decimal:
    """Run a commitment of each window: its first tier's flat amount covers the units.

    What goes beyond them is the next tier, at the price times the overage factor.
    """
    params = case["params"]
    assert params["true_up"]
    unit, commitment = Decimal(params["unit_amount"]), params["commitment_per_window"]
    beyond = str(unit * Decimal(params["overage_factor"]))
    covered = str(Decimal(commitment) / unit)
    rows = tiers((covered, "0", commitment), (None, beyond))
    return _bucketed(case, {"model": "graduated", "tiers": rows}, "window_values")


RUNNERS: dict[str, Callable[[dict[str, Any]], Decimal]] = {
    "graduated": _tiered,
    "volume": _tiered,
    "per_unit": _per_unit,
    "package": _package,
    "volume_package": _volume_package,
    "per_unit+unit_conversion": _converted,
    "graduated+unit_conversion": _converted,
    "percentage": _percentage,
    "percentage_min_max": _percentage,
    "graduated_percentage": _graduated_percentage,
    "dynamic": _dynamic,
    "token_cost": _token_cost,
    "graduated+min_spend": _minimum,
    "volume+min_spend": _minimum,
    "per_unit+max_spend": _maximum,
    "cost_plus+max_spend": _maximum,
    "charge_spending_minimum_prorated": _shared_minimum,
    "bucketed_max_package": _bucketed_package,
    "bucketed_max_volume": _bucketed_volume,
    "commitment_windowed": _windowed_commitment,
}
RUN = [
    case
    for case in CASES
    if case["id"] not in ELSEWHERE and case["id"] not in DIFFERENT
]


@pytest.mark.parametrize("case", RUN, ids=[case["id"] for case in RUN])
def test_a_case_of_another_billing_system_comes_out_the_same(
    case: dict[str, Any],
) -> None:
    assert RUNNERS[case["model"]](case) == Decimal(case["expected_amount"])


def test_every_case_is_run_or_listed_with_its_reason() -> None:
    run = {case["id"] for case in RUN}
    assert len(BY_ID) == len(CASES)
    assert not ELSEWHERE.keys() & DIFFERENT.keys()
    assert run | ELSEWHERE.keys() | DIFFERENT.keys() == BY_ID.keys()
    assert {case["model"] for case in RUN} == RUNNERS.keys()


def _reversal(plan: Plan, state: PlanState, events: list[UsageEvent]) -> Decimal:
    """Return what leaving out all events does to the price."""
    assert state == collect(plan, events)
    return amount(price(plan, {})) - amount(price(plan, state))


def test_negative_usage_is_refused_and_a_reversal_gives_the_same_amount() -> None:
    case = BY_ID["pc027"]
    plan = plan_of(charge("units", {"model": "graduated", "tiers": _tiers(case)}))
    (outcome,), state = rate_many(plan, {}, [event(1, units=case["usage"])])
    assert isinstance(outcome, Unrateable)
    assert state == {}
    events = [event(1, units="250")]
    back = _reversal(plan, collect(plan, events), events)
    assert back == Decimal(case["expected_amount"])


def test_a_third_package_is_started_where_others_round_down() -> None:
    assert _package(BY_ID["pc081"]) == Decimal(3)


def test_packages_of_two_sizes_are_two_charges() -> None:
    """Blocks of 100 for the first 1,000 and of 1,000 beyond, on two metrics."""
    rows = tiers(("10", "1"), (None, "0"))
    first = {"model": "package", "size": "100"} | {
        "price": {"model": "graduated", "tiers": rows}
    }
    beyond = {"model": "package", "size": "1000", "amount": "1"}
    rest = {"model": "included", "units": "1000", "overage": beyond}
    metric = {"aggregation": "sum", "measurement": "units"}
    plan = plan_of(
        charge("first", first, metric={"key": "first", **metric}),
        charge("rest", rest, metric={"key": "rest", **metric}),
    )
    case = BY_ID["pc083"]
    lines = price(plan, collect(plan, [event(1, units=case["usage"])]))
    assert amount(lines) == Decimal(case["expected_amount"])
