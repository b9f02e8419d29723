"""Usage that is added up in groups is the usage of event-by-event rating."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Plan,
    PlanState,
    UsageEvent,
    bulk,
    collect,
    parse_plan,
    price,
    state_to_json,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.tests.pricing_kit import START, charge, event, plan_of, summed
from catalog.tests.test_pricing_laws import plans, usage

PER_UNIT = {"model": "per_unit", "unit_amount": "2"}
COST = {"key": "cost", "aggregation": "sum", "cogs": True}


def tabulated(plan: Plan, events: Sequence[UsageEvent]) -> PlanState | None:
    """Return the usage under one plan, added up in groups."""
    table = Tabulation(Layout.of([plan]))
    table.add(events)
    (state,) = table.states()
    return state


@given(st.lists(plans(), min_size=1, max_size=4), usage())
def test_groups_come_to_the_state_and_price_of_single_events(
    data: list[dict[str, Any]], events: list[UsageEvent]
) -> None:
    parsed = [parse_plan(body) for body in data]
    table = Tabulation(Layout.of(parsed))
    table.add(events)
    for plan, state in zip(parsed, table.states(), strict=True):
        singly = collect(plan, events)
        assert state is not None
        assert state_to_json(state) == state_to_json(singly)
        assert price(plan, state) == price(plan, singly)


ODD = st.sampled_from(
    "-1 0 1 0.0000000000001 0.0000000000005 1.0000000000000 9999999999999999"
    " 1e17 NaN Infinity".split()
)


@st.composite
def odd_usage(draw: st.DrawFn) -> list[UsageEvent]:
    """Draw events of which some cannot be priced."""
    return [
        event(
            number,
            at=START + timedelta(hours=number),
            type=draw(st.sampled_from(["chat", "search"])),
            properties={
                "model": draw(st.sampled_from(["a", "b"])),
                "weight": draw(st.sampled_from(["1", "heavy"])),
            },
            cost=draw(st.one_of(st.none(), st.just("1"), st.just("-1"))),
            tokens=draw(ODD),
            size=draw(ODD),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@given(plans(), odd_usage())
def test_where_an_event_is_refused_groups_do_not_answer(
    data: dict[str, Any], events: list[UsageEvent]
) -> None:
    plan = parse_plan(data)
    state = tabulated(plan, events)
    if state is not None:
        assert state_to_json(state) == state_to_json(collect(plan, events))


AGGREGATIONS = ("sum", "count", "max", "min", "avg", "latest", "unique")


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_every_aggregation_by_filters(aggregation: str) -> None:
    metric = {"key": "m", "aggregation": aggregation, "measurement": "tokens"}
    plan = plan_of(
        charge("all", PER_UNIT, metric=metric),
        charge("eu", PER_UNIT, metric=metric, where={"region": ["eu", "uk"]}),
        charge("eu-a", PER_UNIT, metric=metric, where={"region": "eu", "model": "a"}),
        charge("batch", PER_UNIT, metric=summed("size", event_types=["batch"])),
    )
    events = [
        event(
            number,
            type="batch" if number % 5 == 0 else f"type-{number}",
            properties={"region": region, "model": model, "user": str(number)},
            tokens=str(number % 7),
            size="0.5",
        )
        for number, (region, model) in enumerate(
            (region, model)
            for region in ("eu", "uk", "us", "asia")
            for model in ("a", "b", "c")
        )
    ]
    state = tabulated(plan, events)
    assert state is not None
    assert set(state) == {"all", "eu", "eu-a", "batch"}
    assert state_to_json(state) == state_to_json(collect(plan, events))


REFUSED = {
    "a negative figure": {"tokens": "-1"},
    "a negative figure that others outweigh": {"tokens": "-0.5"},
    "a figure with 13 places": {"tokens": "0.0000000000001"},
    "a figure out of range": {"tokens": "10000000000000000"},
    "no number": {"tokens": "NaN"},
    "an unknown cost": {"tokens": "1", "cost": None},
}


@pytest.mark.parametrize("odd", REFUSED.values(), ids=REFUSED)
def test_an_event_that_may_be_refused_sends_to_single_events(
    odd: dict[str, Any],
) -> None:
    plan = plan_of(
        charge("tokens", PER_UNIT),
        charge("cost", {"model": "percentage", "rate": "5"}, metric=COST),
    )
    events = [event(1, tokens="3"), event(2, **odd)]
    assert tabulated(plan, events) is None
    assert collect(plan, events) == collect(plan, events[:1])


def test_two_figures_with_too_many_places_do_not_hide_in_their_sum() -> None:
    plan = plan_of(charge("tokens", PER_UNIT))
    half = "0.0000000000005"
    assert tabulated(plan, [event(1, tokens=half), event(2, tokens=half)]) is None


def test_a_refused_single_event_sends_all_charges_to_single_events() -> None:
    weight = {"key": "weight", "aggregation": "sum", "property": "weight"}
    plan = plan_of(
        charge("tokens", PER_UNIT), charge("weight", PER_UNIT, metric=weight)
    )
    events = [event(1, properties={"weight": "heavy"}, tokens="3")]
    assert tabulated(plan, events) is None
    assert collect(plan, events) == {}


def test_groups_are_as_many_as_the_filters_tell_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "KINDS_MAX", 16)
    plan = plan_of(charge("tokens", PER_UNIT, where={"model": "a"}))
    table = Tabulation(Layout.of([plan]))
    table.add(
        event(n, type=f"t{n}", properties={"model": f"m{n}"}, tokens="1")
        for n in range(500)
    )
    table.add([event(501, properties={"model": "a"}, tokens="4")])
    assert len(table._groups) == 2
    assert len(table._seen) <= 16
    (state,) = table.states()
    assert state is not None
    assert state["tokens"].value == Decimal(4)  # type: ignore[union-attr]


def test_a_plan_without_charges_of_usage_has_no_state() -> None:
    flat = {"model": "flat", "amount": "20", "due": "advance"}
    assert tabulated(plan_of(charge("fee", flat)), [event(1, tokens="3")]) == {}
