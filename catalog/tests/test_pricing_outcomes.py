"""Outcomes that are confirmed, reversed, or cost more than their budget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Compound,
    Pieces,
    Plan,
    PlanError,
    Reason,
    Unrateable,
    UsageEvent,
    collect,
    explain,
    groups_of,
    lint,
    parse_plan,
    plan_to_json,
    price,
    rate,
    rate_many,
    state_from_json,
    state_to_json,
)
from catalog.pricing import total as whole_period
from catalog.pricing.outcomes import SIGNALS_KEPT, Standing, standing, with_event
from catalog.tests.outcome_shadow import shadow_period
from catalog.tests.pricing_kit import START, amount, charge, event, priced

RESOLVED: dict[str, Any] = {
    "all": [{"event_type": "ticket.closed", "where": {"resolved": "true"}}]
}
EACH = {"model": "per_unit", "unit_amount": "0.99"}
CONFIRM = {"event_type": "ticket.confirmed", "within_seconds": 3600}
REVERSE = {"event_type": "ticket.reopened", "within_seconds": 3600}
BUDGET = {"amount": "0.50", "overage_percent": "130"}


def charge_of(**more: Any) -> dict[str, Any]:
    """Return a charge for resolutions."""
    made = {"model": "compound", "outcome": RESOLVED, "price": EACH, **more}
    return {"key": "resolved", "name": "Resolutions", "unit": "resolution"} | {
        "price": made
    }


def plan(**more: Any) -> Plan:
    """Return a plan of one outcome."""
    return parse_plan({"currency": "USD", "charges": [charge_of(**more)]})


def at(
    seconds: int, kind: str, correlation: str = "t1", *, cost: str = "0", **more: str
) -> UsageEvent:
    """Return an event of a ticket, so many seconds after the start."""
    properties = {"resolved": "true"} if kind == "ticket.closed" else {}
    made = event(seconds, type=kind, properties=properties | more, cost=cost)
    moment = START + timedelta(seconds=seconds)
    return made._replace(correlation=correlation, occurred_at=moment)


def amounts(model: Plan, events: Sequence[UsageEvent]) -> list[Decimal]:
    """Return what each event costs; together they are the period."""
    outcomes, after = rate_many(model, {}, events)
    found = [amount(priced([one])) for one in outcomes]
    assert sum(found) == amount(price(model, after))
    return found


def test_an_outcome_is_charged_when_it_is_confirmed_in_time() -> None:
    model = plan(confirm=CONFIRM)
    closed = at(0, "ticket.closed")
    assert amounts(model, [closed, at(3600, "ticket.confirmed")]) == [
        0,
        Decimal("0.99"),
    ]
    assert amounts(model, [closed, at(3601, "ticket.confirmed")]) == [0, 0]
    # Said before it was complete, or of something else: no.
    assert amounts(model, [at(5, "ticket.confirmed"), at(6, "ticket.closed")]) == [0, 0]
    assert amounts(model, [closed, at(9, "ticket.confirmed", "t2")]) == [0, 0]
    # Twice is once; in the other order the piece carries the price.
    again = [at(9, "ticket.confirmed"), closed, at(20, "ticket.confirmed")]
    assert amounts(model, again) == [0, Decimal("0.99"), 0]


def test_a_confirmation_without_a_window_counts_at_any_time() -> None:
    model = plan(confirm={"event_type": "ticket.confirmed", "where": {"by": "user"}})
    closed = at(100, "ticket.closed")
    said = at(5, "ticket.confirmed", by="user")
    assert amounts(model, [said, closed]) == [0, Decimal("0.99")]
    assert amounts(model, [closed, at(9, "ticket.confirmed", by="bot")]) == [0, 0]


def test_a_reversal_takes_the_price_back_and_says_so() -> None:
    model = plan(confirm=CONFIRM, reverse=REVERSE)
    usage = [at(0, "ticket.closed"), at(60, "ticket.confirmed")]
    state = collect(model, usage)
    taken = rate(model, state, at(120, "ticket.reopened"))
    (line,) = taken.lines
    assert line.quantity == -1
    assert line.amount == Decimal("-0.99")
    assert explain(line) == ("reversed: −1 × $0.99 = −$0.99",)
    assert amount(price(model, taken.after)) == 0
    # Reversed is reversed, whatever is said afterwards.
    more = rate(model, taken.after, at(200, "ticket.confirmed"))
    assert more.lines == ()


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(-1, True), (0, False), (3600, False), (3601, True)],
)
def test_only_what_comes_within_the_window_reverses(seconds: int, counts: bool) -> None:
    model = plan(reverse=REVERSE)
    usage = [at(0, "ticket.closed"), at(seconds, "ticket.reopened")]
    assert sum(amounts(model, usage)) == (Decimal("0.99") if counts else 0)


def test_a_ticket_that_was_opened_again_before_it_was_resolved_counts() -> None:
    model = plan(reverse={"event_type": "ticket.reopened"})
    usage = [
        at(0, "ticket.closed", resolved="false"),
        at(10, "ticket.reopened"),
        at(20, "ticket.closed"),
    ]
    assert amounts(model, usage) == [0, 0, Decimal("0.99")]
    assert amounts(model, [*usage, at(10**6, "ticket.reopened")])[-1] == Decimal(
        "-0.99"
    )


def test_completion_is_when_the_last_missing_piece_came() -> None:
    twice = {"all": [{"event_type": "llm.completion", "at_least": 2}]}
    model = plan(outcome=twice, reverse={**REVERSE, "within_seconds": 60})
    usage = [
        at(0, "llm.completion"),
        at(30, "ticket.reopened"),
        at(40, "llm.completion"),
    ]
    assert amounts(model, usage) == [0, 0, Decimal("0.99")]
    # A late piece moves the completion to before the reopening.
    assert amounts(model, [*usage, at(1, "llm.completion")])[-1] == Decimal("-0.99")


def test_cost_beyond_the_budget_is_a_step_of_its_own() -> None:
    model = plan(cost_budget=BUDGET)
    usage = [
        at(0, "llm.completion", cost="0.30"),
        at(1, "ticket.closed", cost="0.10"),
        at(2, "llm.completion", cost="0.20"),
        at(3, "llm.completion", cost="0.02"),
        at(4, "llm.completion", "other", cost="9"),
    ]
    assert amounts(model, usage) == [
        0,
        Decimal("0.99"),
        Decimal("0.13"),
        Decimal("0.026"),
        0,
    ]
    (line,) = price(model, collect(model, usage))
    assert explain(line) == (
        "1 × $0.99 = $0.99",
        "130 % of $0.12 beyond the cost budget = $0.156",
    )
    # The event that completes it brings both.
    (last,) = rate(
        model, collect(model, [usage[0], usage[2], usage[3]]), usage[1]
    ).lines
    assert explain(last) == (
        "1 × $0.99 = $0.99",
        "130 % of $0.12 beyond the cost budget = $0.156",
    )


def test_a_reversal_takes_the_cost_beyond_the_budget_back_too() -> None:
    model = plan(cost_budget=BUDGET, reverse=REVERSE)
    usage = [at(0, "ticket.closed", cost="0.70"), at(1, "ticket.reopened")]
    (line,) = rate(model, collect(model, usage[:1]), usage[1]).lines
    assert line.amount == Decimal("-1.25")
    assert explain(line) == (
        "reversed: −1 × $0.99 = −$0.99",
        "130 % of −$0.20 beyond the cost budget = −$0.26",
    )


def test_a_maximum_and_a_discount_hold_for_the_cost_beyond_the_budget() -> None:
    data = {**charge_of(cost_budget=BUDGET), "discount_percent": "10", "maximum": "1"}
    model = parse_plan({"currency": "USD", "charges": [data]})
    usage = [at(0, "ticket.closed", cost="0.60"), at(1, "llm.completion", cost="5")]
    assert amounts(model, usage) == [1, 0]
    assert amount(whole_period(model, usage)) == 1


def test_an_unknown_cost_is_refused_only_where_a_budget_needs_it() -> None:
    blind = at(0, "llm.completion")._replace(cost=None)
    (found,), after = rate_many(plan(cost_budget=BUDGET), {}, [blind])
    assert isinstance(found, Unrateable)
    assert (found.reason, found.charge_key) == (Reason.UNKNOWN_COST, "resolved")
    assert after == {}
    for model, one in (
        (plan(), blind),
        (plan(cost_budget=BUDGET), blind._replace(correlation="")),
    ):
        assert rate_many(model, {}, [one])[0] == [()]


def test_an_event_of_no_group_is_judged_alone() -> None:
    alone = at(0, "ticket.closed", "", cost="0.60")
    assert amounts(plan(cost_budget=BUDGET), [alone]) == [Decimal("1.12")]
    # Nothing can confirm it.
    both = [alone, at(1, "ticket.confirmed", "")]
    assert amounts(plan(confirm=CONFIRM), both) == [0, 0]


def test_of_many_signals_the_earliest_are_kept() -> None:
    (made,) = plan(reverse=REVERSE).charges
    assert isinstance(made.model, Compound)
    pieces: Pieces | None = None
    for second in range(SIGNALS_KEPT + 50, 0, -1):
        pieces = with_event(made.model, pieces, at(second, "ticket.reopened"))
    assert pieces is not None
    assert len(pieces.reversed) == SIGNALS_KEPT
    assert pieces.reversed[0] == START + timedelta(seconds=1)
    assert standing(made.model, pieces) is Standing.INCOMPLETE


def test_states_and_plans_from_before_are_read() -> None:
    old = {
        "resolved": {"n": 1, "q": "1"},
        "resolved/" + "0" * 32: {"pieces": [1], "first": [START.isoformat()]},
    }
    state = state_from_json(old)
    assert state_to_json(state) == old
    assert amount(price(plan(reverse=REVERSE), state)) == Decimal("0.99")
    assert plan_to_json(plan())["charges"][0]["price"] == {
        "model": "compound",
        "outcome": RESOLVED,
        "price": EACH,
    }


@pytest.mark.parametrize(
    ("more", "code", "path"),
    [
        ({"confirm": {}}, "missing_key", "confirm"),
        ({"confirm": {"event_type": ""}}, "empty", "confirm.event_type"),
        (
            {"reverse": {"event_type": "a", "within_seconds": 0}},
            "out_of_range",
            "reverse.within_seconds",
        ),
        (
            {"reverse": {"event_type": "a", "where": {"x": []}}},
            "empty",
            "reverse.where.x",
        ),
        ({"reverse": {"event_type": "a", "until": 1}}, "unknown_key", "reverse.until"),
        ({"cost_budget": {"amount": "1"}}, "missing_key", "cost_budget"),
        (
            {"cost_budget": {"amount": "-1", "overage_percent": "1"}},
            "negative",
            "cost_budget.amount",
        ),
        (
            {"cost_budget": {"amount": "1", "overage_percent": "0"}},
            "out_of_range",
            "cost_budget.overage_percent",
        ),
        (
            {"cost_budget": {"amount": 0.5, "overage_percent": "1"}},
            "float",
            "cost_budget.amount",
        ),
    ],
)
def test_wrong_conditions_are_refused_with_their_place(
    more: Mapping[str, Any], code: str, path: str
) -> None:
    with pytest.raises(PlanError) as caught:
        plan(**more)
    found = caught.value.code, caught.value.path
    assert found == (code, f"charges[0].price.{path}")


def test_doubtful_conditions_are_found() -> None:
    itself = {"event_type": "ticket.closed", "where": {"resolved": "true"}}
    found = lint(plan(confirm=itself, reverse=itself))
    assert [one.code for one in found] == ["confirms_itself", "reverses_itself"]
    other = {"event_type": "ticket.closed", "where": {"resolved": "false"}}
    assert lint(plan(reverse=other)) == ()
    metric = {"key": "cost", "aggregation": "sum", "cogs": True}
    share = charge("cost", {"model": "percentage", "rate": "130"}, metric=metric)
    both = {"currency": "USD", "charges": [share, charge_of(cost_budget=BUDGET)]}
    (twice,) = lint(parse_plan(both))
    assert (twice.code, twice.charges) == ("cost_billed_twice", ("resolved", "cost"))


KINDS = st.sampled_from(["a", "b", "yes", "no"])
WINDOW = st.fixed_dictionaries(
    {}, optional={"within_seconds": st.sampled_from([30, 120])}
)
RULES = st.lists(
    st.fixed_dictionaries(
        {"event_type": st.sampled_from(["a", "b"]), "at_least": st.integers(1, 3)},
        optional={"where": st.just({"ok": "1"})},
    ),
    min_size=1,
    max_size=2,
)
PRICES = st.fixed_dictionaries(
    {
        "outcome": st.builds(
            lambda rules, window: {"all": rules, **window}, RULES, WINDOW
        ),
        "price": st.just(EACH),
        "model": st.just("compound"),
    },
    optional={
        "confirm": WINDOW.map(lambda window: {"event_type": "yes", **window}),
        "reverse": WINDOW.map(lambda window: {"event_type": "no", **window}),
        "cost_budget": st.sampled_from(
            [BUDGET, {"amount": "0", "overage_percent": "33.333333333333"}]
        ),
    },
)
ROWS = st.lists(
    st.tuples(
        KINDS,
        st.sampled_from(["", "x", "y"]),
        st.integers(0, 200),
        st.sampled_from(["0", "0.123456789012", "0.5"]),
        st.sampled_from(["0", "1"]),
    ),
    max_size=24,
)


@given(PRICES, ROWS, st.randoms(use_true_random=False))
def test_any_order_gives_what_the_shadow_counts(
    price_json: dict[str, Any],
    rows: list[tuple[str, str, int, str, str]],
    random: Any,
) -> None:
    model = plan(**price_json)
    assert parse_plan(plan_to_json(model)) == model
    events = [
        at(seconds, kind, correlation, cost=cost, ok=ok)._replace(event_id=str(number))
        for number, (kind, correlation, seconds, cost, ok) in enumerate(rows)
    ]
    count, beyond = shadow_period(price_json, events)
    random.shuffle(events)
    state: Mapping[str, Any] = {}
    lines = []
    for one in events:
        wanted = {"resolved", *groups_of(model, [one])}
        # What storage keeps is enough to go on from.
        kept = json.loads(json.dumps(state_to_json(state)))
        before = state_from_json({k: v for k, v in kept.items() if k in wanted})
        outcomes, after = rate_many(model, before, [one])
        lines += priced(outcomes)
        state = {**state, **after}
    for line in lines:
        assert sum((step.amount for step in line.steps), Decimal(0)) == line.amount
    assert amount(lines) == amount(price(model, state))
    assert amount(lines) == count * Decimal("0.99") + beyond
    assert sum((line.quantity for line in lines), Decimal(0)) == count
    assert state == {**state, **collect(model, events)}
