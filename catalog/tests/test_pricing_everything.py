"""The laws of pricing on plans that mix all charge models, windows and terms.

Each model has laws and a second opinion of its own; these are about them together.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Line,
    Own,
    Plan,
    UsageEvent,
    close_sessions,
    closing,
    collect,
    groups_of,
    line_from_json,
    line_to_json,
    opening,
    parse_plan,
    plan_lines,
    plan_of_contract,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
    total,
    true_ups,
)
from catalog.pricing.bulk import Layout, Tabulation
from catalog.tests.pricing_kit import START, amount, amounts, charge, event, priced
from catalog.tests.pricing_shadow import shadow_total
from catalog.tests.terms_shadow import UNIT, shadow_terms
from catalog.tests.test_pricing_dimension_laws import PRICES as DIMENSIONS
from catalog.tests.test_pricing_laws import (
    FILTERS,
    METRICS,
    QUANTITIES,
    percentages,
    quantity_prices,
)
from catalog.tests.test_pricing_outcomes import PRICES as OUTCOMES
from catalog.tests.test_pricing_recipe_laws import recipes
from catalog.tests.test_pricing_term_laws import DAYS, MONEY, discounts

# Ten thousand examples of each law take their time.
pytestmark = pytest.mark.timeout(1800)
Json = dict[str, Any]
WINDOWS = st.sampled_from(["day", "hour", "session", "event"])
TYPES = st.sampled_from(["a", "b", "yes", "no", "chat"])
SESSIONS = st.sampled_from(["", "5" * 32, "7" * 32])
OFF = st.sampled_from(["0", "12.5", "100"])


@st.composite
def metered(draw: st.DrawFn, key: str) -> Json:
    """Draw a charge by a metric, perhaps with a window."""
    metric = dict(draw(st.sampled_from(METRICS)))
    prices = quantity_prices()
    if draw(st.booleans()):
        window = draw(WINDOWS)
        metric |= {"window": window, "key": f"{metric['key']}-{window}"}
    elif metric["aggregation"] == "sum":
        prices = st.one_of(prices, percentages())
    drawn = draw(prices)
    if drawn.get("overage", drawn)["model"] == "percentage":
        metric = METRICS[1] if metric["aggregation"] != "sum" else metric
    return charge(key, drawn, metric=metric, where=draw(FILTERS))


@st.composite
def agentic(draw: st.DrawFn, key: str) -> Json:
    """Draw an outcome, a recipe or a charge by dimensions."""
    drawn = draw(
        st.one_of(
            st.builds(lambda p: {"model": "dimensions", **p}, DIMENSIONS),
            recipes(),
            st.builds(lambda p, q: {**p, "price": q}, OUTCOMES, UNIT_PRICES),
        )
    )
    return {"key": key, "name": key, "price": drawn, "filter": draw(FILTERS)}


UNIT_PRICES = quantity_prices().filter(
    lambda p: p.get("overage", p)["model"] != "percentage"
)


@st.composite
def plans(draw: st.DrawFn) -> Json:
    """Draw a plan of any charges under any terms."""
    rows = [draw(metered(f"m{n}")) for n in range(draw(st.integers(0, 3)))]
    rows += [draw(agentic(f"x{n}")) for n in range(draw(st.integers(0, 3)))]
    for row in rows:
        row["discount_percent"] = draw(OFF)
        bounds = sorted([draw(MONEY), draw(MONEY)], key=Decimal)
        for name, value in zip(("minimum", "maximum"), bounds, strict=True):
            if draw(st.booleans()):
                row[name] = value
    for due in ("advance", "arrears"):
        if not rows or draw(st.booleans()):
            fee = {"model": "flat", "amount": draw(MONEY), "due": due}
            rows.append(charge(due, fee))
    data: Json = {"currency": "USD", "charges": draw(st.permutations(rows))}
    data["discounts"] = draw(discounts([row["key"] for row in rows]))
    bounds = sorted([draw(MONEY), draw(MONEY)], key=Decimal)
    for name, value in zip(("minimum", "maximum"), bounds, strict=True):
        if draw(st.booleans()):
            data[name] = value
    return data


@st.composite
def usage(draw: st.DrawFn) -> list[UsageEvent]:
    """Draw the events of agents at work, in any order."""
    found = []
    for number in range(draw(st.integers(0, 9))):
        properties = {
            "model": draw(st.sampled_from(["a", "b"])),
            "region": draw(st.sampled_from(["eu", "us", "asia"])),
            "ok": draw(st.sampled_from(["0", "1"])),
            "weight": draw(QUANTITIES),
        }
        if draw(st.booleans()):
            properties["tool"] = draw(st.sampled_from(["read", "write", "x"]))
            properties["status"] = draw(st.sampled_from(["SUCCESS", "FAILED"]))
        named = ("tokens", "size", "input_tokens", "output_tokens", "duration_ms")
        made = event(
            number,
            type=draw(TYPES),
            at=START + timedelta(minutes=draw(st.integers(0, 60 * 30))),
            properties=properties,
            cost=draw(st.sampled_from(["0", "0.123", "0.5"])),
            **{n: draw(st.integers(0, 40)) for n in named if draw(st.booleans())},
        )
        correlation = draw(st.sampled_from(["", "one", "two"]))
        found.append(made._replace(correlation=correlation, session=draw(SESSIONS)))
    return draw(st.permutations(found))


def posted_one_by_one(
    plan: Plan, events: Sequence[UsageEvent]
) -> tuple[list[Line], Mapping[str, Any]]:
    """Return what each event costs over what storage keeps, and the state after."""
    keys = {row.key for row in plan.charges}
    state: Mapping[str, Any] = {}
    lines: list[Line] = []
    for one in events:
        # The charges' own states and the groups of this event are all it needs.
        wanted = keys | groups_of(plan, [one])
        kept = json.loads(json.dumps(state_to_json(state)))
        before = state_from_json({k: v for k, v in kept.items() if k in wanted})
        outcomes, after = rate_many(plan, before, [one])
        lines += priced(outcomes)
        state = {**state, **after}
    return lines, state


def kept(lines: Sequence[Line]) -> dict[str, Decimal]:
    """Return what each charge comes to, without those that come to nothing."""
    return {key: value for key, value in amounts(lines).items() if value}


@given(plans(), usage(), st.sampled_from(DAYS), st.randoms(use_true_random=False))
def test_a_month_of_everything_is_the_same_in_any_order(
    data: Json, events: list[UsageEvent], day: str, random: Any
) -> None:
    plan, starts_on = parse_plan(data), dt.date.fromisoformat(day)
    assert parse_plan(json.loads(json.dumps(plan_to_json(plan)))) == plan
    lines, state = posted_one_by_one(plan, events)
    random.shuffle(events)
    whole = collect(plan, events)
    assert state_to_json(state) == state_to_json(whole)
    ended: dict[str, tuple[Line, ...]] = {}
    for session in ("7" * 32, "5" * 32, "7" * 32):
        more, state = close_sessions(plan, state, [session])
        ended |= {f"{session} {len(ended)}": one for one in more.values()}
    lines += [line for own in ended.values() for line in own]
    posted = [*opening(plan), *lines]
    assert kept(posted) == kept(price(plan, state))
    posted += [*closing(plan, state), *true_ups(plan, state)]
    found = plan_lines(plan, posted, starts_on)
    assert {line.name: line.amount * UNIT for line in found} == shadow_terms(
        data, amounts(posted), day
    )
    month = total(plan, state, starts_on=starts_on)
    assert kept([*posted, *found]) == kept(month)
    for line in [*posted, *found, *month]:
        assert amount([line]) == sum(step.amount for step in line.steps)
        assert line_from_json(json.loads(json.dumps(line_to_json(line)))) == line


@given(plans(), usage())
def test_what_each_metric_costs_does_not_depend_on_the_charges_beside_it(
    data: Json, events: list[UsageEvent]
) -> None:
    """The shadow prices the metered charges alone; the others change nothing."""
    own = [row for row in data["charges"] if "metric" in row or row["key"] == "advance"]
    bare = [{k: v for k, v in row.items() if k not in BOUNDS} for row in own]
    alone = shadow_total({**data, "charges": bare}, events)
    rows = [
        {k: v for k, v in row.items() if k not in BOUNDS} for row in data["charges"]
    ]
    plan = parse_plan({**data, "charges": rows})
    found = amounts(price(plan, collect(plan, events)))
    for key, value in alone.items():
        assert found.get(key, Decimal(0)) == value


BOUNDS = ("discount_percent", "minimum", "maximum")


@given(st.lists(plans(), min_size=1, max_size=2), usage())
def test_backtests_add_everything_up_as_rating_does(
    data: list[Json], events: list[UsageEvent]
) -> None:
    parsed = [parse_plan(body) for body in data]
    table = Tabulation(Layout.of(parsed))
    table.add(events)
    for plan, state in zip(parsed, table.states(), strict=True):
        assert state is not None
        assert state_to_json(state) == state_to_json(collect(plan, events))


@given(plans(), usage())
def test_the_same_prices_in_another_currency_and_as_own_prices_cost_the_same(
    data: Json, events: list[UsageEvent]
) -> None:
    said = {row["key"]: _money_of(row) for row in data["charges"]}
    whole = {k: data[k] for k in ("minimum", "maximum", "discounts") if k in data}
    plan = parse_plan({**data, "currencies": {"EUR": {"charges": said, **whole}}})
    assert parse_plan(json.loads(json.dumps(plan_to_json(plan)))) == plan
    start = dt.date(2026, 3, 1)
    bill = kept(total(plan, events, starts_on=start))
    euros = plan_of_contract(plan, Own("EUR"))
    own = plan_of_contract(plan, Own("EUR", said))
    assert own == euros
    assert kept(total(own, events, starts_on=start)) == bill


def _money_of(row: Json) -> Json:
    """Return what a further currency says of a charge."""
    names = ("price", "minimum", "maximum")
    return {name: row[name] for name in names if name in row}
