"""Pricing by dimensions: the worked numbers, the laws, the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from catalog.describe import describe
from catalog.pricing import (
    Plan,
    PlanError,
    Unrateable,
    UsageEvent,
    close_sessions,
    collect,
    explain,
    lint,
    price,
    rate_many,
)
from catalog.tests.dimension_kit import FULL, call, plan
from catalog.tests.pricing_kit import amount, priced

TOOLS = {
    "read_cache": "0.001",
    "write_cache": "0.003",
    "analyze_schema": "0.10",
    "transform_data": "0.25",
    "run_validation": "0.05",
}
DISCOUNTS = [
    {"min_invocations": 1000, "percent": 10},
    {"min_invocations": 10000, "percent": 25},
    {"min_invocations": 100000, "percent": 40},
]


def calls(count: int, tool: str, **more: Any) -> list[UsageEvent]:
    """Return so many equal events."""
    return [call(number, tool, **more) for number in range(count)]


def total(plan: Plan, events: Sequence[UsageEvent]) -> Decimal:
    """Return the price of a period, checked against the sum of its events' lines."""
    outcomes, after = rate_many(plan, {}, events)
    whole = amount(price(plan, after))
    assert amount(priced(outcomes)) == whole
    return whole


def text(model: Plan, events: Sequence[UsageEvent]) -> tuple[str, ...]:
    """Return the words of the period's only line."""
    (line,) = price(model, collect(model, events))
    return explain(line)


def test_tool_tokens_and_duration_add_up() -> None:
    tokens = plan(token_multipliers=FULL["token_multipliers"])
    with_tool = plan(
        token_multipliers=FULL["token_multipliers"],
        tool_invocations=FULL["tool_invocations"],
    )
    usage = call(
        0,
        "transform_schema",
        input_tokens=2400,
        output_tokens=150,
        tool_duration_ms=847,
    )
    assert total(tokens, [usage]) == Decimal("0.0027")
    assert total(with_tool, [usage]) == Decimal("0.1027")
    assert total(plan(**FULL), [usage]) == Decimal("0.2027")
    assert text(plan(**FULL), [usage]) == (
        "1 × $0.10 for duration 1 = $0.10",
        "2,400 input tokens × $0.000001 = $0.0024",
        "150 output tokens × $0.000002 = $0.0003",
        "1 × $0.10 for transform_schema = $0.10",
    )


def test_the_volume_factor_multiplies_all_parts_and_the_penalty() -> None:
    model = plan(
        **FULL,
        error_rate_penalties={"threshold": 0.05, "multiplier": 1.5},
        volume_discounts=[{"min_invocations": 1, "percent": 25}],
    )
    usage = call(
        0,
        "transform_schema",
        session="s",
        status="FAILED",
        input_tokens=2400,
        output_tokens=150,
        tool_duration_ms=847,
    )
    _, after = close_sessions(model, collect(model, [usage]), ["s"])
    assert amount(price(model, after)) == Decimal("0.2280375")


@pytest.mark.parametrize(
    ("invocations", "expected"), [(9_999, "999.90"), (10_000, "800.00")]
)
def test_volume_tiers_are_retroactive_from_their_first_invocation(
    invocations: int, expected: str
) -> None:
    model = plan(
        volume_tiers=[
            {"min_invocations": 0, "rate": 0.10},
            {"min_invocations": 10000, "rate": 0.08},
            {"min_invocations": 100000, "rate": 0.05},
        ]
    )
    assert total(model, calls(invocations, "anything")) == Decimal(expected)


def test_named_tools_keep_their_rate_beside_volume_tiers() -> None:
    model = plan(
        tool_invocations={"named": 1},
        volume_tiers=[
            {"min_invocations": 0, "rate": 0.10},
            {"min_invocations": 3, "rate": 0.01},
        ],
    )
    usage = [call(1, "named"), call(2, "other"), call(3, "more")]
    assert total(model, usage) == Decimal("1.02")


def test_pattern_1_per_tool_with_tiered_discounts() -> None:
    model = plan(tool_invocations=TOOLS, volume_discounts=DISCOUNTS)
    assert total(model, calls(2000, "transform_data")) == Decimal("450")
    assert total(model, calls(999, "read_cache")) == Decimal("0.999")
    assert total(model, calls(1000, "read_cache")) == Decimal("0.9")


def test_pattern_2_session_with_included_tools() -> None:
    model = plan(
        base_session_fee=5,
        included_tool_count=100,
        tool_invocations={"*": 0.05},
        token_multipliers={"output_tokens": 0.000002},
    )
    usage = calls(130, "query", session="one")
    usage.append(call(999, session="one", output_tokens=50_000))
    assert total(model, usage) == Decimal("6.60")
    again = [*usage, call(1000, "query", session="two")]
    assert total(model, again) == Decimal("11.60")


def test_pattern_3_tokens_with_tool_multipliers() -> None:
    model = plan(
        token_multipliers={"input_tokens": 0.0000005, "output_tokens": 0.000002},
        tool_multipliers={
            "simple_lookup": 0.5,
            "schema_analysis": 2.0,
            "transform_multi_step": 3.5,
        },
    )
    usage = [call(0, "schema_analysis", output_tokens=50_000)]
    assert total(model, usage) == Decimal("0.20")
    assert total(model, [call(0, "unheard_of", output_tokens=50_000)]) == Decimal("0.1")
    assert text(model, usage) == (
        "50,000 output tokens of schema_analysis × $0.000004 = $0.20",
    )


def test_sessions_with_too_many_errors_cost_more_once_they_are_closed() -> None:
    model = plan(**FULL, error_rate_penalties={"threshold": 0.05, "multiplier": 1.5})
    usage = [
        call(
            number,
            "transform_schema",
            session="s",
            status="TIMEOUT" if number < 2 else "SUCCESS",
            input_tokens=2400,
            output_tokens=150,
            tool_duration_ms=847,
        )
        for number in range(20)
    ]
    open_ = collect(model, usage)
    assert amount(price(model, open_)) == Decimal("4.054")
    lines, after = close_sessions(model, open_, ["s", "unheard of"])
    assert amount(lines["s"]) == Decimal("2.027")
    assert amount(price(model, after)) == Decimal("6.081")
    assert close_sessions(model, after, ["s"]) == ({}, after)
    # One failure of twenty is the threshold itself, which is not exceeded.
    calm = [one._replace(properties={"tool": "transform_schema"}) for one in usage[1:]]
    once = collect(model, [usage[0], *calm])
    assert close_sessions(model, once, ["s"])[0] == {}


def test_a_late_event_can_still_turn_a_closed_session() -> None:
    model = plan(
        tool_invocations={"*": 1},
        error_rate_penalties={"threshold": "0.5", "multiplier": 2},
    )
    _, after = close_sessions(model, collect(model, [call(0, "a", session="s")]), "s")
    late = [call(n, "a", session="s", status="FAILED") for n in (1, 2)]
    outcomes, after = rate_many(model, after, late)
    assert [line.amount for line in priced(outcomes)] == [Decimal(1), Decimal(4)]
    assert amount(price(model, after)) == Decimal(6)


def test_durations_above_the_last_bucket_take_the_last_and_seconds_multiply() -> None:
    model = plan(duration_buckets=FULL["duration_buckets"])
    assert total(model, [call(0, "a", tool_duration_ms=60_000)]) == Decimal("0.10")
    assert total(model, [call(0, "a", tool_duration_ms=60_001)]) == Decimal("0.50")
    assert total(model, [call(0, "a", tool_duration_ms=9_999_999)]) == Decimal(2)
    seconds = plan(
        duration_buckets={
            "unit": "per_second",
            "buckets": [{"max_seconds": 60, "rate": 0.10}],
        }
    )
    assert total(seconds, [call(0, "a", tool_duration_ms=1500)]) == Decimal("0.15")


def test_a_session_fee_covers_the_dearest_calls_whatever_their_order() -> None:
    model = plan(
        base_session_fee=5,
        included_tool_count=1,
        tool_invocations={"cheap": 1, "dear": 10},
    )
    usage = [call(1, "cheap", session="s"), call(2, "dear", session="s")]
    assert total(model, usage) == total(model, usage[::-1]) == Decimal(6)


def test_an_event_of_no_session_pays_no_fee() -> None:
    model = plan(base_session_fee=5, included_tool_count=9, tool_invocations={"*": 1})
    assert total(model, [call(1, "a")]) == Decimal(1)


def test_a_negative_quantity_leaves_the_event_unpriced() -> None:
    model = plan(**FULL)
    bad = call(0, "a", input_tokens="-1")
    (outcome,), after = rate_many(model, {}, [bad])
    assert isinstance(outcome, Unrateable)
    assert outcome.reason == "negative_quantity"
    assert after == {}


def test_it_is_told_in_words() -> None:
    model = plan(
        **FULL,
        tool_multipliers={"transform_schema": 2},
        error_rate_penalties={"threshold": 0.05, "multiplier": 1.5},
        volume_discounts=DISCOUNTS,
        base_session_fee=5,
        included_tool_count=100,
    )
    assert describe(model) == (
        "Use: $5.00 a session with 100 calls, $0.001 to $0.10 a call, $0.000001 per "
        "input token, $0.000002 per output token, multiplied by tool, plus an amount "
        "by duration, 1.5 times that in sessions with over 5 % errors, up to 40 % off "
        "by volume."
    )


@pytest.mark.parametrize(
    ("members", "code", "path"),
    [
        ({}, "missing_key", ""),
        ({"tool_rates": {}}, "unknown_key", ".tool_rates"),
        ({"tool_invocations": []}, "wrong_type", ".tool_invocations"),
        ({"tool_invocations": {"a": -1}}, "negative", ".tool_invocations.a"),
        ({"tool_invocations": {"a": True}}, "wrong_type", ".tool_invocations.a"),
        ({"tool_invocations": {"a:b": 1}}, "invalid_text", ".tool_invocations.a:b"),
        (
            {"tool_invocations": {"a": 0.1234567890123456}},
            "float",
            ".tool_invocations.a",
        ),
        (
            {"tool_invocations": {"a": "0.0000000000001"}},
            "too_precise",
            ".tool_invocations.a",
        ),
        (
            {
                "token_multipliers": {"t": "0.000000000001"},
                "tool_multipliers": {"x": "0.5"},
            },
            "too_precise",
            ".tool_multipliers.x",
        ),
        (
            {"token_multipliers": {"t": "900000000"}, "tool_multipliers": {"x": 2}},
            "out_of_range",
            ".tool_multipliers.x",
        ),
        (
            {"duration_buckets": [{"max_seconds": 0, "rate": 1}]},
            "out_of_range",
            ".duration_buckets[0].max_seconds",
        ),
        (
            {"duration_buckets": [{"max_seconds": 9, "rate": 1}] * 2},
            "tiers_not_increasing",
            ".duration_buckets[1].max_seconds",
        ),
        (
            {"duration_buckets": {"unit": "per_year", "buckets": []}},
            "unknown_choice",
            ".duration_buckets.unit",
        ),
        (
            {"error_rate_penalties": {"threshold": 5, "multiplier": 2}},
            "out_of_range",
            ".error_rate_penalties.threshold",
        ),
        (
            {"error_rate_penalties": {"threshold": "0.1", "multiplier": "0.5"}},
            "out_of_range",
            ".error_rate_penalties.multiplier",
        ),
        (
            {"volume_tiers": [{"min_invocations": 5, "rate": 1}]},
            "out_of_range",
            ".volume_tiers[0].min_invocations",
        ),
        (
            {"volume_tiers": [{"min_invocations": 0, "rate": 1}] * 2},
            "tiers_not_increasing",
            ".volume_tiers[1].min_invocations",
        ),
        (
            {"volume_discounts": [{"min_invocations": 1, "percent": 101}]},
            "out_of_range",
            ".volume_discounts[0].percent",
        ),
        ({"included_tool_count": -1}, "out_of_range", ".included_tool_count"),
        ({"base_session_fee": "free"}, "invalid_number", ".base_session_fee"),
    ],
)
def test_wrong_dimensions_are_refused_with_their_place(
    members: Mapping[str, Any], code: str, path: str
) -> None:
    with pytest.raises(PlanError) as caught:
        plan(**members)
    assert (caught.value.code, caught.value.path) == (
        code,
        f"charges[0].price{path}",
    )


@pytest.mark.parametrize(
    ("members", "codes"),
    [
        ({"tool_invocations": {"a": 1}}, ["unlisted_tools_free"]),
        (
            {
                "tool_invocations": {"a": 1, "*": 2},
                "volume_tiers": [{"min_invocations": 0, "rate": 1}],
            },
            ["named_tools_keep_rate", "rate_unused"],
        ),
        ({"tool_multipliers": {"a": 2}}, ["prices_nothing", "multipliers_unused"]),
        ({"included_tool_count": 3}, ["prices_nothing", "included_without_fee"]),
        ({"tool_invocations": {"*": 1}}, []),
    ],
)
def test_what_looks_like_a_mistake_is_named(
    members: Mapping[str, Any], codes: list[str]
) -> None:
    assert [finding.code for finding in lint(plan(**members))] == codes
