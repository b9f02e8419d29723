"""The laws of what holds for a plan as a whole, on random plans and months."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    closing,
    opening,
    parse_plan,
    plan_lines,
    plan_to_json,
    rate_many,
    total,
    true_ups,
)
from catalog.pricing.terms import Parts, terms_of
from catalog.tests.pricing_kit import amount, amounts, charge, event, priced
from catalog.tests.terms_shadow import UNIT, shadow_terms
from catalog.tests.test_pricing_laws import QUANTITIES, quantity_prices, texts

MONEY = st.one_of(texts(200, 0), texts(60, 2), texts(1, 12))
ABOVE_ZERO = MONEY.filter(lambda text: Decimal(text) > 0)
PERCENTS = st.one_of(texts(100, 0), texts(100, 4)).filter(lambda t: Decimal(t) > 0)
DAYS = [f"2026-{month:02}-01" for month in range(1, 7)]


@st.composite
def discounts(draw: st.DrawFn, keys: list[str]) -> list[dict[str, Any]]:
    """Draw up to five discounts of some charges, some of them dated."""
    rows = []
    for number in range(draw(st.integers(0, 5))):
        row: dict[str, Any] = {"name": f"Discount {number}"}
        if draw(st.booleans()):
            row["percent"] = draw(PERCENTS)
        else:
            row["amount"] = draw(ABOVE_ZERO)
        if draw(st.booleans()):
            some = st.lists(st.sampled_from(keys), min_size=1, unique=True)
            row["charges"] = draw(some)
        if draw(st.booleans()):
            row["from"], row["until"] = sorted(
                draw(
                    st.lists(st.sampled_from(DAYS), min_size=2, max_size=2, unique=True)
                )
            )
        rows.append(row)
    return rows


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a plan of fees and usage with any terms."""
    keys = [f"k{number}" for number in range(draw(st.integers(1, 3)))]
    charges = [charge(key, draw(quantity_prices())) for key in keys]
    if draw(st.booleans()):
        due = draw(st.sampled_from(["advance", "arrears"]))
        fee = {"model": "flat", "amount": draw(MONEY), "due": due}
        charges.append(charge("fee", fee))
    for row in charges:
        if row["price"]["model"] != "flat" and draw(st.booleans()):
            row["minimum"] = draw(MONEY)
    data: dict[str, Any] = {"currency": "USD", "charges": charges}
    data["discounts"] = draw(discounts([row["key"] for row in charges]))
    bounds = sorted([draw(MONEY), draw(MONEY)], key=Decimal)
    for name, value in zip(("minimum", "maximum"), bounds, strict=True):
        if draw(st.booleans()):
            data[name] = value
    return data


@st.composite
def months(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any], list[Any], str]:
    """Draw a plan, events, the same in another order, and a period's first day."""
    data = draw(plans())
    keys = [row["key"] for row in data["charges"] if row["key"] != "fee"]
    used = draw(st.lists(st.tuples(st.sampled_from(keys), QUANTITIES), max_size=6))
    named: list[dict[str, Any]] = [{key: value} for key, value in used]
    events = [event(n, **measured) for n, measured in enumerate(named)]
    return data, events, draw(st.permutations(events)), draw(st.sampled_from(DAYS))


@given(months())
def test_a_month_is_what_the_shadow_says_in_any_order(case: Any) -> None:
    data, events, shuffled, day = case
    plan, starts_on = parse_plan(data), dt.date.fromisoformat(day)
    outcomes, state = rate_many(plan, {}, shuffled)
    posted = [*opening(plan), *priced(outcomes), *closing(plan, state)]
    posted += true_ups(plan, state)
    expected = shadow_terms(data, amounts(posted), day)
    found = plan_lines(plan, posted, starts_on)
    assert {line.name: line.amount * UNIT for line in found} == expected
    whole = total(plan, events, starts_on=starts_on)
    assert amount(whole) == amount([*posted, *found])
    for line in found:
        assert line.amount == sum(step.amount for step in line.steps)
    assert parse_plan(plan_to_json(plan)) == plan


@given(months())
def test_a_month_lies_between_minimum_and_maximum_and_never_below_zero(
    case: Any,
) -> None:
    data, events, _, day = case
    plan, starts_on = parse_plan(data), dt.date.fromisoformat(day)
    spent = amount(total(plan, events, starts_on=starts_on))
    assert spent >= Decimal(data.get("minimum", 0))
    assert spent <= Decimal(data.get("maximum", "Infinity"))


@given(
    plans(),
    st.lists(st.tuples(texts(90, 3), texts(90, 12)), min_size=4, max_size=4),
    st.sampled_from(DAYS),
)
def test_no_charge_is_discounted_below_zero_and_parts_add_up(
    data: dict[str, Any], drawn: list[tuple[str, str]], day: str
) -> None:
    for name in ("minimum", "maximum"):
        data.pop(name, None)
    plan = parse_plan(data)
    keys = [charge.key for charge in plan.charges]
    parts = {
        key: Parts(Decimal(fixed), Decimal(usage))
        for key, (fixed, usage) in zip(keys, drawn, strict=False)
    }
    found = terms_of(
        plan, parts, starts_on=dt.date.fromisoformat(day), share=lambda value: value
    )
    for charge_key, part in parts.items():
        alone = terms_of(
            plan,
            {charge_key: part},
            starts_on=dt.date.fromisoformat(day),
            share=lambda value: value,
        )
        assert part.whole + sum(row.line.amount for row in alone) >= 0
        assert part.fixed + sum(row.fixed for row in alone) >= 0
        usage = sum(row.line.amount - row.fixed for row in alone)
        assert part.usage + usage >= 0
    for row in found:
        assert row.line.amount <= row.fixed <= 0


@given(months(), st.integers(1, 10**9))
def test_more_usage_never_costs_less_for_the_terms(case: Any, more: int) -> None:
    """What holds for the whole only rises with what a charge comes to."""
    data, events, _, day = case
    plan, starts_on = parse_plan(data), dt.date.fromisoformat(day)
    posted = [*total(parse_plan({**data, "discounts": []}), events)]
    own = [line for line in posted if not line.charge_key.startswith("plan:")]
    if not own:
        return
    raised = [own[0]._replace(amount=own[0].amount + more), *own[1:]]
    before = amount([*own, *plan_lines(plan, own, starts_on)])
    after = amount([*raised, *plan_lines(plan, raised, starts_on)])
    assert before <= after
