"""Percentages that look at each event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from catalog.pricing import collect, explain, price, rate, rate_many
from catalog.tests.pricing_kit import amount, charge, event, plan_of, priced


def fees(values: list[str], **model: Any) -> Decimal:
    """Return the price of events with these amounts, in this order of time."""
    plan = plan_of(charge("spend", {"model": "percentage", **model}))
    events = [event(number, spend=value) for number, value in enumerate(values)]
    return amount(price(plan, collect(plan, events)))


def test_free_events_end_with_their_number() -> None:
    assert fees(["100", "100", "100"], rate="1", free_events=2) == Decimal(1)


def test_a_free_amount_ends_within_an_event() -> None:
    assert fees(["60", "60"], rate="1", free_amount="100") == Decimal("0.2")


def test_the_allowance_ends_with_whichever_comes_first() -> None:
    both = {"free_events": 2, "free_amount": "150"}
    assert fees(["100", "100", "100"], rate="1", **both) == Decimal("1.5")
    assert fees(["10", "10", "100"], rate="1", **both) == Decimal(1)


def test_a_free_event_pays_no_fixed_amount_and_a_partly_free_one_does() -> None:
    model = {"rate": "1", "fixed_amount": "2", "free_events": 2, "free_amount": "150"}
    assert fees(["100", "100"], **model) == Decimal("2.5")
    assert fees(["100", "50"], **model) == Decimal(0)


def test_nothing_is_free_once_the_amount_is_used_up_not_even_an_event_of_zero() -> None:
    model = {"rate": "1", "fixed_amount": "2", "free_events": 3, "free_amount": "100"}
    assert fees(["100", "0"], **model) == Decimal(2)


def test_minimum_and_maximum_bound_the_fee_with_its_fixed_amount() -> None:
    model = {"rate": "10", "fixed_amount": "1", "minimum": "3", "maximum": "5"}
    assert fees(["10"], **model) == Decimal(3)
    assert fees(["30"], **model) == Decimal(4)
    assert fees(["99"], **model) == Decimal(5)


def test_a_late_earlier_event_is_free_and_brings_the_fee_of_the_one_displaced() -> None:
    model = {"model": "percentage", "rate": "10", "free_events": 1}
    plan = plan_of(charge("spend", model))
    first = rate(plan, {}, event(5, spend="80"))
    assert amount(first.lines) == Decimal(0)
    late = rate(plan, first.after, event(1, spend="10"))
    assert amount(late.lines) == Decimal(8)
    assert amount(price(plan, late.after)) == Decimal(8)


def test_events_of_the_same_moment_are_ordered_by_their_ids() -> None:
    model = {"model": "percentage", "rate": "10", "free_events": 1}
    plan = plan_of(charge("spend", model))
    moment = event(0).occurred_at
    pair = [event(2, spend="100", at=moment), event(1, spend="1", at=moment)]
    for events in (pair, pair[::-1]):
        assert amount(price(plan, collect(plan, events))) == Decimal(10)


def test_a_percentage_says_what_was_free_and_what_was_raised() -> None:
    model = {"model": "percentage", "rate": "2.5", "minimum": "0.5", "free_events": 1}
    plan = plan_of(charge("spend", model))
    events = [event(1, spend="40"), event(2, spend="10")]
    outcomes, after = rate_many(plan, {}, events)
    assert [explain(line) for line in priced(outcomes)] == [
        ("$40.00 free = $0.00",),
        (
            "2.5 % of $10.00 = $0.25",
            "raised to the minimum of $0.50 per event = $0.25",
        ),
    ]
    (line,) = price(plan, after)
    assert line.quantity == Decimal(50)
    assert line.amount == Decimal("0.5")
