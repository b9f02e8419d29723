"""Which measurements of an event no charge of a plan counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from catalog.pricing.counted import uncounted
from catalog.tests import dimension_kit, recipe_kit
from catalog.tests.pricing_kit import charge, plan_of, summed

ONE = {"model": "per_unit", "unit_amount": "1"}
SPLIT = "input_tokens input_uncached_tokens cache_read_tokens cache_write_tokens"


def free(charges: list[dict[str, Any]], names: str, **properties: str) -> list[str]:
    """Return what is not counted of the named measurements of a chat."""
    return told(uncounted(plan_of(*charges), "chat", properties, names.split()))


def told(found: Iterable[str]) -> list[str]:
    return sorted(found)


def priced(*names: str, **more: Any) -> list[dict[str, Any]]:
    """Return a charge for each measurement."""
    return [charge(name, ONE, metric=summed(name), **more) for name in names]


@pytest.mark.parametrize(
    ("_case", "charged", "measured", "wanted"),
    [
        ("what is priced", "pages", "pages", ""),
        ("nothing is", "pages", "web_searches latency_ms", "latency_ms web_searches"),
        ("a part with its whole", "input_tokens", SPLIT, ""),
        ("a part of a part", "input_tokens", "cache_write_5m_tokens", ""),
        ("another total", "output_tokens", "reasoning_tokens pages", "pages"),
        (
            "the parts that are left out",
            "input_uncached_tokens cache_read_tokens",
            SPLIT,
            "cache_write_tokens",
        ),
        ("sound that no cache held", "input_uncached_tokens", "input_audio_tokens", ""),
        ("a total of priced parts", "cache_read_tokens", "total_tokens", ""),
    ],
)
def test_parts_and_wholes(_case: str, charged: str, measured: str, wanted: str) -> None:
    assert free(priced(*charged.split()), measured) == wanted.split()


def test_only_charges_that_the_event_touches_count() -> None:
    charges = priced("pages", where={"model": "a"})
    assert free(charges, "pages", model="a") == []
    assert free(charges, "pages", model="b") == ["pages"]
    searches = summed("pages", event_types=["search"])
    assert free([charge("p", ONE, metric=searches)], "pages") == ["pages"]


def test_a_charge_for_each_event_counts_calls_and_one_of_our_cost_all() -> None:
    calls = charge("calls", ONE, metric={"key": "calls", "aggregation": "count"})
    assert free([calls], "tool_calls requests pages") == ["pages"]
    cost = {"key": "cost", "aggregation": "sum", "cogs": True}
    share = {"model": "percentage", "rate": "20"}
    assert free([charge("share", share, metric=cost)], "pages output_tokens") == []


def test_dimensions_count_what_they_have_rates_for() -> None:
    plan = dimension_kit.plan(
        tool_invocations={"*": "1"}, token_multipliers={"input_tokens": "0.001"}
    )
    names = "tool_calls cache_read_tokens output_tokens tool_duration_ms".split()
    found = uncounted(plan, "mcp.tool_invoked", {"tool": "search"}, names)
    assert told(found) == ["output_tokens", "tool_duration_ms"]


def test_a_recipe_counts_its_meters_and_an_outcome_what_its_price_covers() -> None:
    names = "input_tokens tool_calls pages web_searches".split()
    outcome = {
        "key": "review",
        "name": "Review",
        "price": {
            "model": "compound",
            "outcome": {"all": [{"event_type": "doc.parsed"}]},
            "absorbs": ["pages"],
            "price": ONE,
        },
    }
    plan = recipe_kit.credits_plan(outcome)
    found = uncounted(plan, "llm.completion", {}, names)
    assert told(found) == ["web_searches"]
