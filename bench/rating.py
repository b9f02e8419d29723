"""Rated measurements per second of the pure engine, on one core.

A plan of twelve charges with filters prices events of twelve measurements one by one,
each with its line and steps. A measurement is one priced touch of a charge. Beside it,
in the same run, the exact arithmetic that no engine can avoid for one: adding to the
quantity, checking that it fits, multiplying with the price, rounding to twelve places,
and the difference; with nothing found, matched, kept or told.

    make bench-rating args="--events 2000 --rounds 15"
"""

from __future__ import annotations

import argparse
import datetime as dt
import decimal
import json
import statistics
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from bench.frame import parser
from catalog.pricing import Plan, Unrateable, UsageEvent, parse_plan, rate_many
from catalog.pricing.bulk import Layout, Tabulation
from catalog.pricing.exact import EXACT, fit_quantity, round_amount

CHARGES = 12
MODELS = ("small", "large", "batch")
START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
QUANTUM = Decimal(1).scaleb(-12)
TIERS = [
    {"up_to": "1000000", "unit_amount": "3.00"},
    {"up_to": "50000000", "unit_amount": "2.50"},
    {"up_to": None, "unit_amount": "2.00"},
]


def plan() -> Plan:
    """Return a plan whose charges are per unit, graduated, volume and included."""
    unit = {"model": "per_unit", "per": 1_000_000, "unit_amount": "3.15"}
    prices: list[dict[str, Any]] = [
        unit,
        {"model": "graduated", "per": 1_000_000, "tiers": TIERS},
        {"model": "volume", "per": 1_000_000, "tiers": TIERS},
        {"model": "included", "units": "100000", "overage": unit},
    ]
    charges: list[dict[str, Any]] = []
    for number in range(CHARGES):
        name = f"meter_{number:02}"
        charge = {
            "key": name,
            "name": name,
            "unit": "units",
            "metric": {"key": name, "aggregation": "sum", "measurement": name},
            "price": prices[number % len(prices)],
            "filter": {"model": list(MODELS), "region": ["eu", "us"]},
        }
        charges.append(charge)
    return parse_plan({"currency": "USD", "charges": charges})


def usage(count: int) -> list[UsageEvent]:
    """Return events that touch every charge, of several kinds."""
    return [
        UsageEvent(
            f"event-{number:08}",
            START + dt.timedelta(seconds=number),
            "llm.completion",
            {"model": MODELS[number % 3], "region": ("eu", "us")[number % 2]},
            {
                f"meter_{m:02}": Decimal(100 + (number * 7 + m) % 977)
                for m in range(CHARGES)
            },
            None,
        )
        for number in range(count)
    ]


def rated(made: Plan, events: Sequence[UsageEvent]) -> int:
    """Price the events; return how many charges were touched."""
    outcomes, _ = rate_many(made, {}, events)
    return sum(0 if isinstance(o, Unrateable) else len(o) for o in outcomes)


def tabulated(made: Plan, events: Sequence[UsageEvent]) -> int:
    """Add the events up as backtests do; return how many charges were touched."""
    table = Tabulation(Layout.of([made]))
    table.add(events)
    (state,) = table.states()
    assert state is not None
    return len(events) * len(state)


def bare(_: Plan, events: Sequence[UsageEvent]) -> int:
    """Do the arithmetic of every touch, and nothing else."""
    values = [value for event in events for value in event.measurements.values()]
    slope, intercept = Decimal("0.00000315"), Decimal("0.5")
    with decimal.localcontext(EXACT):
        total, before = Decimal(0), Decimal(0)
        for value in values:
            total = total + value
            fit_quantity(total, QUANTUM)
            after = round_amount(total.fma(slope, intercept), QUANTUM)
            _amount = after - before
            before = after
    return len(values)


WAYS: dict[str, Callable[[Plan, Sequence[UsageEvent]], int]] = {
    "rated": rated,
    "tabulated": tabulated,
    "bare": bare,
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return touches per second of processor time, each way, in turn in each round."""
    made, events = plan(), usage(options.events)
    for way in WAYS.values():
        way(made, events)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            started = time.process_time()
            touched = way(made, events)
            rates[name].append(touched / (time.process_time() - started))
            assert touched == len(events) * CHARGES
    middle = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "charges": CHARGES,
        "events": options.events,
        "measurements_per_s": round(middle["rated"]),
        "measurements_per_s_best": round(max(rates["rated"])),
        "tabulated_per_s": round(middle["tabulated"]),
        "bare_per_s": round(middle["bare"]),
        "ratio_to_bare": round(middle["bare"] / middle["rated"], 2),
    }


def main() -> None:
    """Run the benchmark and print its figures; the last line is JSON."""
    figures = measure(parser(__doc__, events=2_000, rounds=15).parse_args())
    print(f"{figures['events']:,} events × {CHARGES} charges with filters, one core")
    print(f"  rated, line by line   {figures['measurements_per_s']:>9,} /s (median)")
    print(f"                        {figures['measurements_per_s_best']:>9,} /s (best)")
    print(f"  added up in groups    {figures['tabulated_per_s']:>9,} /s")
    print(f"  bare arithmetic       {figures['bare_per_s']:>9,} /s")
    print(f"  bare ÷ rated          {figures['ratio_to_bare']:>9}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
