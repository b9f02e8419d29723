"""Worked usage of every provider costs what it says, to the last digit."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from aforo.core.models import Tenant
from catalog import costs
from catalog.cost_rates import add_rate, import_library
from catalog.costs import Cost

pytestmark = pytest.mark.django_db

CASES = json.loads((Path(__file__).parent / "cases/usage_blocks.json").read_text())
EXAMPLES: list[dict[str, Any]] = CASES["examples"]
SINCE = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
# What the cases call a leaf.
LEAVES = {
    "input_uncached": "input_uncached_tokens",
    "input_text": "input_uncached_tokens",
    "input_audio": "input_audio_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "output": "output_tokens",
    "web_search": "web_searches",
}
# What the price list's own calculator takes; the rest it does not know.
OURS_TO_THEIRS = {"reasoning_tokens": "output_reasoning_tokens"}
NOT_THEIRS = {"web_fetches", "estimated"}
# Where the list's own result is wrong, and why.
FAULTS = {
    "anthropic-11-compaction-iterations": (
        "It reads the top level of the block only: the tokens of the compaction are"
        " missing. Given the whole usage it agrees."
    ),
    "deepseek-03-peak-hour-on-saturday": (
        "Its hours have no weekdays, so it takes a Saturday for peak time."
    ),
}


def measured(example: dict[str, Any]) -> dict[str, Decimal]:
    found = example["canonical_measurements"]
    return {k: Decimal(v) for k, v in found.items() if not isinstance(v, bool)}


def cost_of(tenant: Tenant, example: dict[str, Any]) -> Cost:
    raw = example["raw_usage"]
    speed = raw.get("speed", "") if isinstance(raw, dict) else ""
    return costs.load([tenant.pk])[tenant.pk].cost(
        event_type="llm.completion",
        model=example["model"],
        tool="",
        measurements=measured(example),
        at=dt.datetime.fromisoformat(example["event_time"]),
        properties={"speed": speed},
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["id"])
def test_each_case_costs_what_it_says_at_the_given_prices(example) -> None:
    tenant = Tenant.objects.create(name="Acme")
    raw = example["raw_usage"]
    for leaf in example["priced_leaves"]:
        add_rate(
            tenant=tenant,
            provider=example["provider"],
            model=example["model"],
            unit=LEAVES[leaf["leaf"]],
            amount=Decimal(leaf["price"]),
            per=int(leaf["per"]),
            currency="USD",
            valid_from=SINCE,
            actor=None,
            context="fast" if "speed" in raw else "",
        )
    found = cost_of(tenant, example)
    assert found.unknown == ""
    assert found.amount == Decimal(example["expected_cost_usd"])
    lines = {line.unit: (line.quantity, line.amount) for line in found.lines}
    assert lines == {
        LEAVES[leaf["leaf"]]: (Decimal(leaf["quantity"]), Decimal(leaf["cost"]))
        for leaf in example["priced_leaves"]
    }


LISTED = [e for e in EXAMPLES if e.get("genai_prices_0_2_3")]


@pytest.mark.parametrize("example", LISTED, ids=lambda e: e["id"])
def test_the_price_lists_own_calculator_agrees_except_for_its_faults(example) -> None:
    tenant = Tenant.objects.create(name="Acme")
    theirs = example["genai_prices_0_2_3"]
    provider = theirs["provider_id"]
    import_library([(provider, theirs["model_matched"])], SINCE)
    ours = cost_of(tenant, example)
    usage = {
        OURS_TO_THEIRS.get(name, name): int(value)
        for name, value in measured(example).items()
        if name not in NOT_THEIRS
    }
    listed = calc_price(
        Usage(**usage),
        example["model"],
        provider_id=provider,
        genai_request_timestamp=dt.datetime.fromisoformat(example["event_time"]),
        price_context=theirs["price_context"],
    ).total_price
    assert ours.amount == listed
    expected = Decimal(example["expected_cost_usd"])
    said = Decimal(theirs["total_price"])
    assert (said == expected) is (example["id"] not in FAULTS)


def test_every_fault_is_one_of_the_cases() -> None:
    differing = {e["id"] for e in LISTED if not e["genai_prices_0_2_3"]["equal"]}
    assert differing == set(FAULTS)


def test_hours_of_ones_own_put_the_saturday_right() -> None:
    example = next(e for e in EXAMPLES if e["id"].startswith("deepseek-03"))
    tenant = Tenant.objects.create(name="Acme")
    import_library([("deepseek", "deepseek-v4-flash")], SINCE)
    assert cost_of(tenant, example).amount == Decimal("0.001248")
    usual = {"input_uncached_tokens": "0.15", "cache_read_tokens": "0.003"}
    for unit, price in {**usual, "output_tokens": "0.6"}.items():
        for hours, factor in (("", 1), ("mon-fri 01:00-04:00", 2)):
            add_rate(
                tenant=tenant,
                provider="deepseek",
                model="deepseek-v4-flash",
                unit=unit,
                amount=Decimal(price) * factor,
                per=1_000_000,
                currency="USD",
                valid_from=SINCE,
                actor=None,
                hours=hours,
            )
    assert cost_of(tenant, example).amount == Decimal("0.000624")
    friday = {**example, "event_time": "2026-11-20T02:30:00Z"}
    assert cost_of(tenant, friday).amount == Decimal("0.001248")
