"""The laws of pricing, on random plans and events."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    UsageEvent,
    collect,
    line_from_json,
    line_to_json,
    opening,
    parse_plan,
    plan_to_json,
    price,
    rate,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.pricing.curves import breakdown
from catalog.pricing.exact import EXACT
from catalog.pricing.lines import amount_of, difference
from catalog.pricing.meters import Pricer, part_of
from catalog.tests.pricing_kit import (
    START,
    amounts,
    charge,
    event,
    plan_of,
    priced,
    tiers,
)
from catalog.tests.pricing_shadow import shadow_total

ZERO = Decimal(0)


def texts(largest: int, places: int) -> st.SearchStrategy[str]:
    """Draw a number below `largest` with at most so many places, as JSON has it."""
    return st.integers(0, largest * 10**places).map(
        lambda number: format(Decimal(number).scaleb(-places), "f")
    )


PRICES = st.one_of(texts(5, 2), texts(2, 12), st.just("0"), st.just("0.0000005"))
QUANTITIES = st.one_of(texts(40, 0), texts(30, 1), texts(3, 12))
POSITIVE = QUANTITIES.filter(lambda text: Decimal(text) > 0)


@st.composite
def tier_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw one to four tiers."""
    bounds = draw(st.lists(POSITIVE, max_size=3, unique_by=Decimal))
    rows = [*sorted(bounds, key=Decimal), None]
    return [
        {"up_to": up_to, "unit_amount": draw(PRICES), "flat_amount": draw(PRICES)}
        for up_to in rows
    ]


def tiered() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a price by the unit: one, graduated or volume."""
    one = st.fixed_dictionaries({"model": st.just("per_unit"), "unit_amount": PRICES})
    many = st.fixed_dictionaries(
        {"model": st.sampled_from(["graduated", "volume"]), "tiers": tier_lists()}
    )
    return st.one_of(one, many)


def packages() -> st.SearchStrategy[dict[str, Any]]:
    """Draw packages at an amount, or at a tiered price."""
    # Smaller ones at these prices are refused: a unit would cost too much.
    sizes = POSITIVE.filter(lambda text: Decimal(text) > Decimal("0.00000001"))
    base = {"model": st.just("package"), "size": sizes}
    return st.one_of(
        st.fixed_dictionaries({**base, "amount": PRICES}),
        st.fixed_dictionaries({**base, "price": tiered()}),
    )


def quantity_prices() -> st.SearchStrategy[dict[str, Any]]:
    """Draw any price of a quantity."""
    plain = st.one_of(tiered(), packages())
    rate_only = st.fixed_dictionaries(
        {"model": st.just("percentage"), "rate": texts(200, 3)}
    )
    return st.one_of(
        plain,
        st.fixed_dictionaries(
            {
                "model": st.just("included"),
                "units": POSITIVE,
                "overage": st.one_of(plain, rate_only),
            }
        ),
    )


@st.composite
def percentages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a percentage with any of its options."""
    row: dict[str, Any] = {"model": "percentage", "rate": draw(texts(200, 3))}
    for name in ("fixed_amount", "minimum", "maximum"):
        if draw(st.booleans()):
            row[name] = draw(PRICES)
    if "minimum" in row and "maximum" in row:
        low, high = sorted((row["minimum"], row["maximum"]), key=Decimal)
        row |= {"minimum": low, "maximum": high}
    if draw(st.booleans()):
        row["free_events"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        row["free_amount"] = draw(POSITIVE)
        if row.keys() & {"fixed_amount", "minimum", "maximum"}:
            row.setdefault("free_events", 3)
    return row


METRICS: list[dict[str, Any]] = [
    {"key": "calls", "aggregation": "count"},
    {"key": "tokens", "aggregation": "sum", "measurement": "tokens"},
    {"key": "chats", "aggregation": "sum", "measurement": "tokens"}
    | {"event_types": ["chat"]},
    {"key": "peak", "aggregation": "max", "measurement": "tokens"},
    {"key": "least", "aggregation": "min", "measurement": "size"},
    {"key": "mean", "aggregation": "avg", "measurement": "size"},
    {"key": "level", "aggregation": "latest", "measurement": "size"},
    {"key": "weight", "aggregation": "sum", "property": "weight"},
    {"key": "models", "aggregation": "unique", "property": "model"},
    {"key": "cost", "aggregation": "sum", "cogs": True},
]
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["a", "b", ["a", "b"]]),
        "region": st.sampled_from(["eu", ["eu", "us"]]),
    },
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a plan of one to five charges, and perhaps flat amounts."""
    charges = []
    for index in range(draw(st.integers(1, 5))):
        metric = draw(st.sampled_from(METRICS))
        prices = quantity_prices()
        if metric["aggregation"] == "sum":
            prices = st.one_of(prices, percentages())
        drawn = draw(prices)
        inner = drawn.get("overage", drawn)
        if inner["model"] == "percentage" and metric["aggregation"] != "sum":
            metric = METRICS[1]
        charges.append(charge(f"c{index}", drawn, metric=metric, where=draw(FILTERS)))
    if draw(st.booleans()):
        due = draw(st.sampled_from(["advance", "arrears"]))
        charges.append(charge("fee", {"model": "flat", "amount": "20", "due": due}))
    return {"currency": "USD", "charges": charges}


@st.composite
def usage(draw: st.DrawFn) -> list[UsageEvent]:
    """Draw events, some of them at the same time, in any order."""
    result = []
    for number in range(draw(st.integers(0, 9))):
        properties = {"model": draw(st.sampled_from(["a", "b", "c"]))}
        if draw(st.booleans()):
            properties["region"] = draw(st.sampled_from(["eu", "us", "asia"]))
        if draw(st.booleans()):
            properties["weight"] = draw(QUANTITIES)
        measured = {
            name: draw(QUANTITIES) for name in ("tokens", "size") if draw(st.booleans())
        }
        result.append(
            event(
                number,
                type=draw(st.sampled_from(["chat", "search"])),
                at=START + timedelta(hours=draw(st.integers(0, 4))),
                properties=properties,
                cost=draw(QUANTITIES),
                **measured,
            )
        )
    return draw(st.permutations(result))


@given(plans(), usage())
def test_the_lines_of_all_events_in_any_order_sum_to_the_price_of_the_period(
    data: dict[str, Any], events: list[UsageEvent]
) -> None:
    plan = parse_plan(data)
    outcomes, after = rate_many(plan, {}, events)
    posted = [*opening(plan), *priced(outcomes)]
    whole = amounts(price(plan, after))
    summed = amounts(posted)
    expected = shadow_total(data, events)
    for key, value in expected.items():
        assert whole.get(key, ZERO) == value
        assert summed.get(key, ZERO) == value


@given(plans(), usage(), st.randoms(use_true_random=False))
def test_the_order_of_the_events_does_not_change_the_state(
    data: dict[str, Any], events: list[UsageEvent], random: Any
) -> None:
    plan = parse_plan(data)
    shuffled = list(events)
    random.shuffle(shuffled)
    assert state_to_json(collect(plan, events)) == state_to_json(
        collect(plan, shuffled)
    )


@given(plans(), usage())
def test_every_line_is_the_sum_of_its_steps(
    data: dict[str, Any], events: list[UsageEvent]
) -> None:
    plan = parse_plan(data)
    outcomes, after = rate_many(plan, {}, events)
    for line in [*opening(plan), *priced(outcomes), *price(plan, after)]:
        assert line.steps
        assert sum(step.amount for step in line.steps) == line.amount
        assert line.amount.as_tuple().exponent == -12
        assert line_from_json(json.loads(json.dumps(line_to_json(line)))) == line


@given(plans(), usage())
def test_one_by_one_over_stored_state_is_the_same_as_in_one_batch(
    data: dict[str, Any], events: list[UsageEvent]
) -> None:
    plan = parse_plan(data)
    outcomes, after = rate_many(plan, {}, events)
    state: Any = {}
    for index, one in enumerate(events):
        rated = rate(plan, state, one)
        assert rated.lines == outcomes[index]
        state = state_from_json(json.loads(json.dumps(state_to_json(rated.after))))
        assert state == rated.after
    assert state == after


@given(plans())
def test_a_plan_survives_its_json(data: dict[str, Any]) -> None:
    plan = parse_plan(data)
    assert parse_plan(json.loads(json.dumps(plan_to_json(plan)))) == plan


@given(quantity_prices(), st.lists(QUANTITIES, min_size=2, max_size=8))
def test_the_short_way_gives_what_the_whole_breakdown_gives_up_and_down(
    model: dict[str, Any], quantities: list[str]
) -> None:
    (row,) = plan_of(charge("tokens", model)).charges
    with localcontext(EXACT):
        pricer = Pricer(part_of(row, "USD"), ZERO)
        before = breakdown(row.model, ZERO)
        for quantity in quantities:
            line = pricer.move(Decimal(quantity))
            after = breakdown(row.model, Decimal(quantity))
            if line is None:
                assert amount_of(after) == amount_of(before)
            else:
                assert line.amount == amount_of(after) - amount_of(before)
                assert line.steps == difference(after=after, before=before)
            before = after


@given(tier_lists(), QUANTITIES, QUANTITIES)
def test_more_units_never_cost_less_when_prices_are_graduated(
    rows: list[dict[str, Any]], one: str, other: str
) -> None:
    plan = plan_of(charge("tokens", {"model": "graduated", "tiers": rows}))
    model = plan.charges[0].model
    low, high = sorted((Decimal(one), Decimal(other)))
    assert amount_of(breakdown(model, low)) <= amount_of(breakdown(model, high))


@given(quantity_prices(), st.lists(QUANTITIES, min_size=1, max_size=6))
def test_splitting_a_quantity_over_events_does_not_change_its_price(
    model: dict[str, Any], parts: list[str]
) -> None:
    plan = plan_of(charge("tokens", model))
    whole = format(sum(Decimal(part) for part in parts), "f")
    split = collect(plan, [event(n, tokens=part) for n, part in enumerate(parts)])
    assert price(plan, split) == price(plan, collect(plan, [event(tokens=whole)]))


@given(percentages(), st.permutations(range(8)), st.lists(QUANTITIES, min_size=8))
def test_the_free_events_are_the_earliest_whatever_order_they_arrive_in(
    model: dict[str, Any], order: list[int], values: list[str]
) -> None:
    row = charge("spend", model | {"free_events": 3})
    data = {"currency": "USD", "charges": [row]}
    events = [event(number, spend=values[number]) for number in order]
    plan = parse_plan(data)
    assert (
        amounts(price(plan, collect(plan, events))).get("spend", ZERO)
        == (shadow_total(data, events)["spend"])
    )


def test_the_laws_see_every_kind_of_tier_change() -> None:
    """Fixed numbers through all boundaries: what random ones might miss."""
    rows = tiers(("10", "2", "5"), ("20", "1"), (None, "0.5", "7"))
    for model in ("graduated", "volume"):
        data = {
            "currency": "USD",
            "charges": [charge("tokens", {"model": model, "tiers": rows})],
        }
        plan = parse_plan(data)
        events = [event(n, tokens=v) for n, v in enumerate([0, 10, 1, 9, 1, 20])]
        outcomes, after = rate_many(plan, {}, events)
        posted = [*opening(plan), *priced(outcomes)]
        expected = shadow_total(data, events)["tokens"]
        assert amounts(posted)["tokens"] == expected
        assert amounts(price(plan, after))["tokens"] == expected
