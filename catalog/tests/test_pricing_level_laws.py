"""The law of spend levels: in order the shadow, and by their stamps in any order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Purchase,
    Standing,
    UsageEvent,
    collect,
    parse_plan,
    rate_by_level,
    state_from_json,
    state_to_json,
    with_level,
)
from catalog.tests.pricing_kit import START, amount, charge, priced, tiers
from catalog.tests.pricing_shadow import shadow_total
from catalog.tests.test_pricing_levels import LEVELS, TOKENS, Json, each, used

AMOUNTS = st.sampled_from(["0", "0.5", "3", "10", "12.25", "40"])
PRICES = st.sampled_from(["0", "0.1", "1", "2.5"])
MODELS = st.one_of(
    PRICES.map(each),
    st.builds(
        lambda a, b: {"model": "volume", "tiers": tiers(("15", a), (None, b))},
        PRICES,
        PRICES,
    ),
    st.builds(
        lambda a: {"model": "included", "units": "10", "overage": each(a)}, PRICES
    ),
)
USAGE = st.lists(
    st.tuples(AMOUNTS, st.integers(0, 3), st.sampled_from(["a", "b"])), max_size=9
)


@st.composite
def bodies(draw: st.DrawFn) -> Json:
    """Draw a plan: prices for all, for some levels and for one model."""
    window = draw(st.sampled_from(["period", "hour"]))
    metric = {**TOKENS, "aggregation": draw(st.sampled_from(["sum", "max", "count"]))}
    metric["window"] = window
    charges = [charge("list", draw(MODELS), metric=metric)]
    for key, where in (
        ("some", {"spend_level": ["build", "scale"]}),
        ("one", {"spend_level": "scale", "model": "a"}),
    ):
        charges.append(charge(key, draw(MODELS), metric=metric, where=where))
    levels = [*LEVELS[:2], {**LEVELS[2], "spend_from": draw(st.sampled_from("59"))}]
    return {"currency": "USD", "levels": [*levels, LEVELS[3]], "charges": charges}


def shadow(body: Json, events: Sequence[UsageEvent], standing: Standing) -> list[Any]:
    """Return the level and the price of the whole so far, event by event, slowly."""
    stamped: list[UsageEvent] = []
    empty = sum(shadow_total(body, []).values())
    found = []
    for one in events:
        spent = sum(shadow_total(body, stamped).values()) - empty + standing.spend
        bought = sum(p.amount for p in standing.purchases if p.at <= one.occurred_at)
        level = "free"
        for row in body["levels"][1:]:
            if "spend_from" in row and spent >= Decimal(row["spend_from"]):
                level = row["key"]
            if "credits_from" in row and bought >= Decimal(row["credits_from"]):
                level = row["key"]
            if row["key"] == standing.given:
                level = row["key"]
        told = {**one.properties, "spend_level": level}
        stamped.append(one._replace(properties=told))
        found.append((level, sum(shadow_total(body, stamped).values()) - empty))
    return found


@given(
    bodies(),
    USAGE,
    st.sampled_from(["", "enterprise", "build"]),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_in_order_it_is_the_shadow_and_the_stamps_replay_in_any_order(
    body: Json, rows: list[Any], given_level: str, bought_at: int, random: Any
) -> None:
    model = parse_plan(body)
    events = [
        used(
            number,
            tokens,
            at=START + timedelta(hours=hour),
            properties={"model": name, "spend_level": "enterprise"},
        )
        for number, (tokens, hour, name) in enumerate(rows)
    ]
    purchase = Purchase(START + timedelta(hours=bought_at), Decimal(5))
    standing = Standing(Decimal(2), (purchase,), given_level)
    rated = rate_by_level(model, {}, events, standing)
    expected = shadow(body, events, standing)
    assert rated.levels == [level for level, _ in expected]
    total = Decimal(0)
    for outcome, (_, whole) in zip(rated.outcomes, expected, strict=True):
        total += amount(priced([outcome]))
        assert total == whole
    assert rated.spend == total + 2
    # In batches over what storage keeps, with the spend carried on.
    state: Mapping[str, Any] = {}
    going = standing
    for one in events:
        part = rate_by_level(model, state, [one], going)
        going = replace(going, spend=part.spend)
        state = state_from_json(json.loads(json.dumps(state_to_json(part.after))))
    assert state == rated.after
    # The stamps make the price free of order again.
    stamped = [with_level(e, k) for e, k in zip(events, rated.levels, strict=True)]
    random.shuffle(stamped)
    assert state_to_json(collect(model, stamped)) == state_to_json(rated.after)
