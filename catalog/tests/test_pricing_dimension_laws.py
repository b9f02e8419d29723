"""Pricing by dimensions: any order of events comes to what the shadow says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Line,
    Plan,
    UsageEvent,
    close_sessions,
    parse_plan,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.tests.dimension_kit import call, plan
from catalog.tests.dimension_shadow import shadow_dimensions
from catalog.tests.pricing_kit import amount, priced

RATES = st.sampled_from(["0", "0.05", "0.10", "1", "2.5", "0.0000005"])
TOOL_NAMES = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def levels(draw: st.DrawFn, name: str, values: st.SearchStrategy[str]) -> list[Any]:
    """Draw one to three levels by invocations; rates begin at none."""
    first = 0 if name == "rate" else 1
    more = draw(st.lists(st.integers(2, 12), unique=True, max_size=2))
    return [
        {"min_invocations": least, name: draw(values)}
        for least in [first, *sorted(more)]
    ]


PRICES = st.fixed_dictionaries(
    {"tool_invocations": st.dictionaries(TOOL_NAMES | st.just("*"), RATES, max_size=4)},
    optional={
        "token_multipliers": st.dictionaries(
            st.sampled_from(["input_tokens", "output_tokens"]), RATES
        ),
        "tool_multipliers": st.dictionaries(
            TOOL_NAMES, st.sampled_from(["0.5", "2", "3.5"]), max_size=2
        ),
        "duration_buckets": st.sampled_from(
            [
                [
                    {"max_seconds": "1", "rate": "0.1"},
                    {"max_seconds": "5", "rate": "1"},
                ],
                {
                    "unit": "per_second",
                    "buckets": [{"max_seconds": "60", "rate": "0.01"}],
                },
            ]
        ),
        "error_rate_penalties": st.sampled_from(
            [
                {"threshold": "0.3", "multiplier": "1.5"},
                {"threshold": "0", "multiplier": "2"},
            ]
        ),
        "volume_tiers": levels("rate", RATES),
        "volume_discounts": levels("percent", st.sampled_from(["10", "25", "100"])),
        "base_session_fee": st.sampled_from(["5", "0.5"]),
        "included_tool_count": st.integers(0, 4),
    },
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c", "d", "other"]),
        st.sampled_from(["", "s", "t"]),
        st.sampled_from(["SUCCESS", "SUCCESS", "FAILED", "TIMEOUT"]),
        st.integers(0, 1000),
        st.integers(0, 6000),
    ),
    max_size=14,
)


def drawn_events(rows: Sequence[tuple[str, str, str, int, int]]) -> list[UsageEvent]:
    """Return events of drawn figures."""
    return [
        call(
            number,
            tool,
            session=session,
            status=status,
            input_tokens=tokens,
            output_tokens=tokens * 2,
            tool_duration_ms=duration,
        )
        for number, (tool, session, status, tokens, duration) in enumerate(rows)
    ]


def run(
    model: Plan, steps: Sequence[UsageEvent | str]
) -> tuple[list[Line], Mapping[str, Any]]:
    """Rate events and close sessions (given by name) one after another."""
    lines: list[Line] = []
    state: Mapping[str, Any] = {}
    for step in steps:
        if isinstance(step, str):
            found, state = close_sessions(model, state, [step])
            lines += found.get(step, ())
        else:
            outcomes, state = rate_many(model, state, [step])
            lines += priced(outcomes)
        state = state_from_json(json.loads(json.dumps(state_to_json(state))))
    return lines, state


@given(PRICES, EVENTS, st.randoms(use_true_random=False))
def test_any_order_gives_the_price_that_the_shadow_gives(
    members: Mapping[str, Any], rows: list[tuple[str, str, str, int, int]], random: Any
) -> None:
    model = plan(**members)
    assert parse_plan(plan_to_json(model)) == model
    events = drawn_events(rows)
    steps: list[UsageEvent | str] = [*events]
    random.shuffle(steps)
    # A session closes after its first event, early or late among the others.
    for session in ("s", "t"):
        first = [i for i, e in enumerate(steps) if getattr(e, "session", "") == session]
        if first:
            steps.insert(random.randint(first[0] + 1, len(steps)), session)
    lines, state = run(model, steps)
    whole = amount(price(model, state))
    assert amount(lines) == whole
    used = {e.session for e in events if e.session}
    exact = shadow_dimensions(dict(members), events, used)
    # Each label is rounded to twelve places once, the shadow never.
    assert abs(exact - Fraction(whole)) <= 20 * Fraction(1, 10**12)
