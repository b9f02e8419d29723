"""The law of windows: any order, over what storage keeps, against the shadow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    collect,
    explain,
    groups_of,
    opening,
    parse_plan,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.tests.pricing_kit import START, amounts, charge, event, priced
from catalog.tests.pricing_shadow import shadow_total
from catalog.tests.test_pricing_laws import POSITIVE, QUANTITIES, quantity_prices
from catalog.tests.test_pricing_windows import EACH, Json, metric

AGGREGATIONS = st.sampled_from("count sum max min avg latest unique".split())
WINDOWS = st.sampled_from(["day", "hour", "session", "event"])
PERCENT = st.fixed_dictionaries(
    {"model": st.just("percentage"), "rate": QUANTITIES},
    optional={"free_amount": POSITIVE},
)


@st.composite
def windowed_plans(draw: st.DrawFn) -> Json:
    """Draw a windowed charge beside one by the period and one for one model only."""
    aggregation = draw(AGGREGATIONS)
    row = metric(draw(WINDOWS), aggregation)
    choices = quantity_prices().filter(
        lambda p: p.get("overage", p)["model"] != "percentage"
    )
    if aggregation == "sum":
        choices = st.one_of(choices, PERCENT)
    first = charge("first", draw(choices), metric=row)
    if draw(st.booleans()):
        first["discount_percent"] = "12.5"
    second = charge("second", draw(choices), metric=row, where={"model": "a"})
    third = charge("seats", EACH, metric={**metric("period"), "key": "all"})
    return {"currency": "USD", "charges": [first, second, third]}


ROWS = st.lists(
    st.tuples(
        QUANTITIES,
        st.integers(0, 60 * 50),  # Minutes: three days.
        st.sampled_from(["", "aa", "bb"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=10,
)


@given(windowed_plans(), ROWS, st.randoms(use_true_random=False))
def test_any_order_over_what_storage_keeps_gives_what_the_shadow_says(
    data: Json, rows: list[tuple[str, int, str, str]], random: Any
) -> None:
    model = parse_plan(data)
    assert parse_plan(plan_to_json(model)) == model
    events = [
        event(
            number,
            at=START + timedelta(minutes=minute),
            properties={"model": name},
            seats=value,
        )._replace(session=session)
        for number, (value, minute, session, name) in enumerate(rows)
    ]
    expected = shadow_total(data, events)
    whole = collect(model, events)
    random.shuffle(events)
    state: Mapping[str, Any] = {}
    lines = [*opening(model)]
    keys = {row.key for row in model.charges}
    for one in events:
        # The charges' own states and the windows of this event are all it needs.
        wanted = keys | groups_of(model, [one])
        kept = json.loads(json.dumps(state_to_json(state)))
        before = state_from_json({k: v for k, v in kept.items() if k in wanted})
        outcomes, after = rate_many(model, before, [one])
        lines += priced(outcomes)
        state = {**state, **after}
    assert state_to_json(state) == state_to_json(whole)
    found = amounts(lines)
    nothing = {key: value for key, value in found.items() if not value}
    assert found == amounts(price(model, state)) | nothing
    off = Decimal(data["charges"][0].get("discount_percent", "0"))
    gross = expected["first"]
    cut = (gross * off / 100).quantize(Decimal(1).scaleb(-12))
    assert found.get("first", 0) == gross - cut
    assert found.get("second", 0) == expected["second"]
    assert found.get("seats", 0) == expected["seats"]
    for line in lines:
        assert sum(step.amount for step in line.steps) == line.amount
        assert len(explain(line)) == len(line.steps)
