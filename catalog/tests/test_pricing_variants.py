"""Further currencies and own prices: the merged plan is the one written by hand."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import (
    Compound,
    Own,
    PlanError,
    Recipe,
    in_currency,
    opening,
    own_that_fits,
    parse_plan,
    plan_of_contract,
    plan_to_json,
    price,
    rate_many,
    state_from_json,
    state_to_json,
    total,
    true_ups,
)
from catalog.tests.pricing_kit import amount, charge, event, priced, tiers

FEE = {
    "key": "fee",
    "name": "Fee",
    "price": {"model": "flat", "amount": "200", "due": "advance"},
}
TOKENS = charge(
    "tokens",
    {"model": "graduated", "tiers": tiers(("100", "3"), (None, "2", "5"))},
    unit="tokens",
) | {"discount_percent": "10", "minimum": "50", "maximum": "900"}
CALLS = charge("calls", {"model": "per_unit", "unit_amount": "0.01"})
IN_EUR: dict[str, Any] = {
    "fee": {"price": {"model": "flat", "amount": "180", "due": "advance"}},
    "tokens": {
        "price": {"model": "graduated", "tiers": tiers(("100", "2.7"), (None, "1.8"))},
        "minimum": "45",
        "maximum": None,
    },
    "calls": {"price": {"model": "volume", "tiers": tiers((None, "0.009"))}},
}
BODY: dict[str, Any] = {
    "currency": "USD",
    "charges": [FEE, TOKENS, CALLS],
    "currencies": {"EUR": {"charges": IN_EUR}},
}


def changed(**of_eur: Any) -> dict[str, Any]:
    """Return the body with members of its variant in euros replaced."""
    body = copy.deepcopy(BODY)
    body["currencies"]["EUR"]["charges"] |= of_eur
    return body


def by_hand(currency: str, **rows: Any) -> Any:
    """Return the plan with charges written out: what a person would have merged."""
    made = []
    charges: tuple[dict[str, Any], ...] = (FEE, TOKENS, CALLS)
    for row in charges:
        merged = {**row, **rows.get(row["key"], {})}
        made.append({k: v for k, v in merged.items() if v is not None})
    return parse_plan({"currency": currency, "charges": made})


def test_a_plan_in_a_further_currency_is_the_one_written_by_hand():
    plan = parse_plan(BODY)
    assert plan.currencies == ("USD", "EUR")
    assert in_currency(plan, "EUR") == by_hand("EUR", **IN_EUR)
    assert in_currency(plan, "USD") == by_hand("USD")
    assert parse_plan(plan_to_json(plan)) == plan
    # What is not about money is the plan's in every currency.
    assert str(in_currency(plan, "EUR").charge("tokens").discount) == "1E+1"


def test_a_body_without_further_currencies_is_written_as_before():
    plain = {k: v for k, v in BODY.items() if k != "currencies"}
    assert "currencies" not in plan_to_json(parse_plan(plain))
    assert parse_plan({**plain, "currencies": {}}) == parse_plan(plain)


@pytest.mark.parametrize(
    ("_case", "body", "code", "path", "words"),
    [
        (
            "not every charge",
            {**BODY, "currencies": {"EUR": {"charges": {"fee": IN_EUR["fee"]}}}},
            "missing_price",
            "currencies.EUR.charges",
            "no price in EUR for tokens, calls",
        ),
        (
            "a bound without its figure",
            changed(tokens={"price": IN_EUR["tokens"]["price"], "minimum": "1"}),
            "missing_price",
            "currencies.EUR.charges.tokens.maximum",
            "no maximum in EUR: give it, or null for none",
        ),
        (
            "unknown charge",
            changed(seats=IN_EUR["calls"]),
            "unknown_charge",
            "currencies.EUR.charges.seats",
            "the plan has no charge seats; it has fee, tokens, calls",
        ),
        (
            "a price that is none",
            changed(calls={"price": {"model": "per_unit", "unit_amount": "dear"}}),
            "invalid_number",
            "currencies.EUR.charges.calls.price.unit_amount",
            "dear is not a plain decimal number",
        ),
        (
            "another metric",
            changed(calls={"price": IN_EUR["fee"]["price"]}),
            "another_metric",
            "currencies.EUR.charges.calls.price.model",
            "calls is priced by what its metric counts, and what it counts stays: flat"
            " would count something else",
        ),
        (
            "a percentage is not for it to say",
            changed(calls={**IN_EUR["calls"], "discount_percent": "5"}),
            "unknown_key",
            "currencies.EUR.charges.calls.discount_percent",
            "discount_percent is not known here",
        ),
        (
            "the plan's own currency",
            {**BODY, "currencies": {"USD": {"charges": IN_EUR}}},
            "duplicate_currency",
            "currencies.USD",
            "USD is the plan's own currency: its prices are above",
        ),
        (
            "no currency",
            {**BODY, "currencies": {"EURO": {"charges": IN_EUR}}},
            "unknown_currency",
            "currencies.EURO",
            "EURO is no currency",
        ),
    ],
)
def test_a_currency_that_is_not_complete_is_refused(_case, body, code, path, words):
    with pytest.raises(PlanError) as found:
        parse_plan(body)
    refusal = found.value
    assert (refusal.code, refusal.path, refusal.message) == (code, path, words)


def test_own_prices_are_merged_charge_by_charge():
    own: dict[str, Any] = {
        "calls": {"price": {"model": "per_unit", "unit_amount": "0.008"}},
        "tokens": {"minimum": None, "discount_percent": "20", "name": "Your tokens"},
    }
    plan = parse_plan(BODY)
    assert plan_of_contract(plan, Own(charges=own)) == by_hand("USD", **own)
    in_eur = {key: {**IN_EUR[key], **own.get(key, {})} for key in IN_EUR}
    assert plan_of_contract(plan, Own("EUR", own)) == by_hand("EUR", **in_eur)
    assert plan_of_contract(plan, Own()) is plan


@pytest.mark.parametrize(
    ("own", "code", "path"),
    [
        (Own("GBP"), "currency_not_offered", "currency"),
        (Own(charges={"seats": {}}), "unknown_charge", "overrides.charges.seats"),
        (Own(charges={"calls": {}}), "empty", "overrides.charges.calls"),
        (
            Own(charges={"calls": {"metric": "tokens"}}),
            "unknown_key",
            "overrides.charges.calls.metric",
        ),
        (
            Own(charges={"calls": {"price": FEE["price"]}}),
            "another_metric",
            "overrides.charges.calls.price.model",
        ),
        (
            Own(charges={"tokens": {"maximum": "10"}}),
            "out_of_range",
            "overrides.charges.tokens.maximum",
        ),
        (
            Own(charges={"fee": {"minimum": "10"}}),
            "unsupported",
            "overrides.charges.fee.minimum",
        ),
        (Own(commitment={"amount": 1, "price": "1"}), "no_commitment", "commitment"),
    ],
)
def test_terms_that_do_not_fit_are_refused_with_the_path_of_the_override(
    own, code, path
):
    with pytest.raises(PlanError) as found:
        plan_of_contract(parse_plan(BODY), own)
    assert (found.value.code, found.value.path) == (code, path)


def test_what_makes_an_outcome_is_not_a_price():
    outcome = {"all": [{"event_type": "doc.parsed"}]}
    model = {"model": "compound", "outcome": outcome, "price": CALLS["price"]}
    plan = parse_plan(
        {
            "currency": "USD",
            "charges": [{"key": "done", "name": "Done", "price": model}],
        }
    )
    dearer = {**model, "price": {"model": "per_unit", "unit_amount": "1"}}
    assert plan_of_contract(plan, Own(charges={"done": {"price": dearer}})) != plan
    other = {**model, "outcome": {"all": [{"event_type": "doc.read"}]}}
    with pytest.raises(PlanError) as found:
        plan_of_contract(plan, Own(charges={"done": {"price": other}}))
    assert found.value.path == "overrides.charges.done.price.outcome"


def test_on_another_plan_the_terms_stay_that_fit_it():
    own = Own(
        charges={
            "calls": {"discount_percent": "5"},
            "gone": {"discount_percent": "5"},
        },
        commitment={"amount": 5, "price": "1"},
    )
    kept = own_that_fits(parse_plan(BODY), own)
    assert kept == Own(charges={"calls": {"discount_percent": "5"}})


PRICES = st.sampled_from(
    [
        {"model": "per_unit", "unit_amount": "0.008"},
        {"model": "graduated", "tiers": tiers(("5", "1"), (None, "0.5", "3"))},
        {"model": "volume", "tiers": tiers(("20", "1"), (None, "0.25"))},
        {"model": "package", "size": "7", "amount": "2"},
        {
            "model": "included",
            "units": "10",
            "overage": {"model": "per_unit", "unit_amount": "0.3"},
        },
    ]
)
BOUNDS = {
    "discount_percent": st.sampled_from(["0", "10", "33.3333"]),
    "minimum": st.sampled_from([None, "5"]),
    "maximum": st.sampled_from([None, "30"]),
}
TERMS = st.fixed_dictionaries({}, optional={"price": PRICES, **BOUNDS})


@given(
    st.sampled_from(["USD", "EUR"]),
    st.dictionaries(
        st.sampled_from(["tokens", "calls"]), TERMS.filter(bool), max_size=2
    ),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=10),
    st.randoms(use_true_random=False),
)
def test_any_order_under_own_prices_costs_what_the_plan_by_hand_says(
    currency, own, rows, random
):
    """The law, with a shadow that never heard of merging: the body by hand."""
    base = {} if currency == "USD" else IN_EUR
    keys = {*base, *own}
    rows_by_hand = {key: {**base.get(key, {}), **own.get(key, {})} for key in keys}
    try:
        shadow = by_hand(currency, **rows_by_hand)
    except PlanError:
        with pytest.raises(PlanError):
            plan_of_contract(parse_plan(BODY), Own(currency, own))
        return
    plan = plan_of_contract(parse_plan(BODY), Own(currency, own))
    assert plan == shadow
    events = [event(n, tokens=t, calls=c) for n, (t, c) in enumerate(rows)]
    expected = total(shadow, events)
    random.shuffle(events)
    state: Any = {}
    lines = list(opening(plan))
    for one in events:
        outcomes, state = rate_many(plan, state, [one])
        lines += priced(outcomes)
        state = state_from_json(state_to_json(state))
    assert amount(lines) == amount(price(plan, state))
    assert amount([*lines, *true_ups(plan, state)]) == amount(expected)
    assert {line.currency for line in expected} <= {currency}


RECIPE: dict[str, Any] = {
    "model": "recipe",
    "weights": [{"measurement": "input_tokens", "amount": "1", "per": 1000}],
    "markup_percent": "20",
    "price": {"model": "per_unit", "unit_amount": "0.01"},
}
OUTCOME: dict[str, Any] = {
    "model": "compound",
    "outcome": {"all": [{"event_type": "ticket.closed"}]},
    "cost_budget": {"amount": "0.50", "overage_percent": "130"},
    "price": {"model": "per_unit", "unit_amount": "0.99"},
}


def agentic(recipe: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Return plan JSON of a recipe and an outcome with these prices in euros."""
    rows = [
        {"key": key, "name": key, "price": price}
        for key, price in (("credits", RECIPE), ("resolved", OUTCOME))
    ]
    eur = {"credits": {"price": recipe}, "resolved": {"price": outcome}}
    return {"currency": "USD", "charges": rows, "currencies": {"EUR": {"charges": eur}}}


def test_the_markup_of_a_recipe_is_the_plans_in_every_currency() -> None:
    in_eur = {"model": "per_unit", "unit_amount": "0.009"}
    for said in ({}, {"markup_percent": "50"}):
        own = {k: v for k, v in RECIPE.items() if k != "markup_percent"}
        plan = parse_plan(agentic({**own, **said, "price": in_eur}, OUTCOME))
        model = in_currency(plan, "EUR").charge("credits").model
        assert isinstance(model, Recipe)
        assert model.markup == 20
        written = plan_to_json(plan)["currencies"]["EUR"]["charges"]["credits"]
        assert "markup_percent" not in written["price"]
        assert parse_plan(plan_to_json(plan)) == plan


def test_the_cost_budget_of_an_outcome_is_money_of_its_currency() -> None:
    budget = {"amount": "0.45", "overage_percent": "130"}
    plan = parse_plan(agentic(RECIPE, {**OUTCOME, "cost_budget": budget}))
    model = in_currency(plan, "EUR").charge("resolved").model
    assert isinstance(model, Compound)
    assert model.budget is not None
    assert model.budget.amount == Decimal("0.45")


@pytest.mark.parametrize(
    ("_case", "recipe", "outcome", "path"),
    [
        (
            "another weight",
            {**RECIPE, "weights": [{"measurement": "input_tokens", "amount": "2"}]},
            OUTCOME,
            "credits.price.weights",
        ),
        (
            "another model",
            {"model": "per_unit", "unit_amount": "1"},
            OUTCOME,
            "credits.price.model",
        ),
        (
            "no budget",
            RECIPE,
            {k: v for k, v in OUTCOME.items() if k != "cost_budget"},
            "resolved.price.outcome",
        ),
    ],
)
def test_what_a_price_counts_is_the_same_in_every_currency(
    _case: str, recipe: dict[str, Any], outcome: dict[str, Any], path: str
) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(agentic(recipe, outcome))
    assert caught.value.code == "another_metric"
    assert caught.value.path == f"currencies.EUR.charges.{path}"
