"""Charges that were added and not begun; what a form says of them and of empty ones."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aforo.core.models import Role
from catalog.pricing import lint, parse_plan
from portal.composer.acts import act
from portal.composer.bodies import from_body, own_body
from portal.composer.checking import check
from portal.composer.conflict import markup_words
from portal.composer.currencies import settle
from portal.composer.models import MODELS
from portal.composer.numbers import clean
from portal.composer.shown import Shower
from portal.composer.waiting import waiting
from portal.tests.composer_kit import EACH, METRICS, body_of, boxes, make_plan, path
from portal.tests.scene import Scene, sign_in


def form(*prices: dict[str, Any]) -> Any:
    """Return a form with a charge for each price."""
    return from_body(body_of(*prices), limits={}, prorate=False)


@pytest.mark.parametrize("model", list(MODELS))
def test_a_new_charge_of_every_model_waits_and_leaves_the_figures(model: str) -> None:
    typed = form(EACH)
    act(typed, "charge.add")
    typed.charges[1].price = MODELS[model].start()
    patient = check(typed, METRICS, patient=True)
    assert patient.problems == {}
    assert [charge.uid for charge in patient.waiting] == ["c2"]
    assert patient.plan is not None
    assert [charge.key for charge in patient.plan.charges] == ["k0"]
    assert "c2-name" in check(typed, METRICS).problems


def test_the_first_letter_of_a_charge_ends_its_waiting() -> None:
    typed = form(EACH)
    act(typed, "charge.add")
    typed.charges[1].name = "C"
    assert waiting(typed) == []
    found = check(typed, METRICS, patient=True).problems
    assert {"c2-metric", "c2-unit_amount"} <= set(found)


def test_a_charge_that_a_discount_names_does_not_wait() -> None:
    typed = form(EACH)
    act(typed, "charge.add")
    act(typed, "discount.add")
    typed.terms.discounts[0].charges = ["c2"]
    assert waiting(typed) == []


def test_the_page_is_calm_about_a_new_charge_and_saving_tells_what_it_lacks(
    scene: Scene,
) -> None:
    client = sign_in(scene, Role.OWNER)
    plan = make_plan(scene)
    data = boxes(client.get(path(plan)).content.decode())
    html = client.post(path(plan), {**data, "do": "charge.add"}).content.decode()
    assert "not filled in yet" in html
    assert 'class="error"' not in html
    assert "to solve" not in html
    saved = client.post(path(plan), {**boxes(html), "do": "save"})
    assert saved.status_code == 422
    assert "Name is blank" in saved.content.decode()
    review = client.get(path(plan, "publish")).content.decode()
    assert "This draft cannot be published yet" in review


def test_rates_by_dimension_without_a_rate_say_that_they_price_nothing() -> None:
    typed = form({"model": "dimensions", "tool_invocations": {}})
    (message,) = check(typed, METRICS).problems.values()
    assert message.startswith("This charge prices nothing yet.")
    charge = {"key": "k", "name": "Tool Runs"}
    charge["price"] = {"model": "dimensions", "tool_invocations": {}}  # type: ignore[assignment]
    plan = parse_plan({"currency": "USD", "charges": [charge]})
    messages = [finding.message for finding in lint(plan)]
    assert messages == ["Tool Runs prices nothing: it has no rate and no fee"]


def test_every_blank_figure_of_another_currency_is_told_at_its_box() -> None:
    typed = form(EACH, {"model": "flat", "amount": "9"})
    act(typed, "currency.EUR.add")
    settle(typed, own_body(typed))
    assert set(check(typed, METRICS).problems) == {
        "cur-EUR-c1-price/unit_amount",
        "cur-EUR-c2-price/amount",
    }


def test_sections_in_use_are_open_and_the_first_where_none_is() -> None:
    def states(price: dict[str, Any], focus: str = "") -> dict[str, bool]:
        shower = Shower(form(price), {}, (), fixed_keys=frozenset(), focus=focus)
        (charge,) = shower.charges()
        return {s.legend: s.is_open for s in charge.price.sections}

    empty: dict[str, Any] = {"model": "dimensions", "tool_invocations": {}}
    assert [n for n, is_open in states(empty).items() if is_open] == ["Calls of tools"]
    fee = states({**empty, "base_session_fee": "5"})
    assert [n for n, is_open in fee.items() if is_open] == ["Sessions"]
    assert states(empty, "c1-token_multipliers-0-name")["Tokens"]


def test_every_choice_of_a_model_says_what_it_is_for() -> None:
    shower = Shower(form(EACH), {}, (), fixed_keys=frozenset())
    choices = dict(shower.charges()[0].model.choices)
    assert choices["dimensions"].startswith("Dimensions: rates by tool")
    assert all(": " in words for words in choices.values())


def test_finances_markup_is_among_what_differs() -> None:
    row = {"price": {"model": "recipe", "markup_percent": "20"}}
    assert markup_words(row) == " Finance's markup: 20 %."
    assert markup_words({"price": EACH}) == ""


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("1e-7", "0.0000001"), ("2.5E3", "2500"), ("0.0000001", "0.0000001")],
)
def test_small_numbers_are_taken_as_scientists_type_them(typed: str, kept: str) -> None:
    assert clean(typed) == kept
    assert re.fullmatch(r"[0-9.]+", kept)
