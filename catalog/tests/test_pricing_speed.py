"""How many events a core prices; prints figures, asserts nothing about time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from catalog.pricing import UsageEvent, line_to_json, rate_many
from catalog.tests.pricing_kit import charge, event, plan_of, priced, tiers

NAMES = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "reasoning_steps",
    "tool_calls",
)
ROWS = tiers(("1000000", "3"), ("50000000", "2.5"), (None, "2"))
PER_M = {"per": 1_000_000}
MODELS: dict[str, dict[str, Any]] = {
    "one tier": {"model": "per_unit", "unit_amount": "3", **PER_M},
    "graduated": {"model": "graduated", "tiers": ROWS, **PER_M},
    "package": {"model": "package", "size": "1000", "amount": "0.003"},
    "percentage, first 100 free": {
        "model": "percentage",
        "rate": "2.5",
        "minimum": "0.5",
        "free_events": 100,
    },
}
ROUNDS = 15
BATCH = 1_000


def events() -> list[UsageEvent]:
    """Return a batch of events of five measurements."""
    result = []
    for number in range(BATCH):
        measured: dict[str, Any] = dict.fromkeys(NAMES, 1_000 + number % 77)
        result.append(event(number, properties={"model": "a"}, **measured))
    return result


@pytest.mark.benchmark
@pytest.mark.parametrize("model", MODELS)
def test_events_of_five_charges_per_second_and_core(model: str) -> None:
    plan = plan_of(*(charge(name, MODELS[model]) for name in NAMES))
    batch = events()
    rates = []
    for _ in range(ROUNDS):
        start = time.process_time()
        outcomes, _ = rate_many(plan, {}, batch)
        rates.append(BATCH / (time.process_time() - start))
    rates.sort()
    start = time.process_time()
    lines = [line_to_json(line) for line in priced(outcomes)]
    stored = BATCH / (time.process_time() - start)
    print(
        f"\n{model}: median {rates[ROUNDS // 2]:,.0f}, best {rates[-1]:,.0f} "
        f"events/s; lines to JSON {stored:,.0f} events/s"
    )
    assert len(lines) == BATCH * len(NAMES)
