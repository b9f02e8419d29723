"""The composer's form of a recipe, and what the simulator says of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan
from catalog.tests.recipe_kit import CREDITS, WEIGHTS, charge_of
from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.typed import Typed
from portal.tests.composer_kit import boxes, figure, opened, path, posted
from portal.tests.scene import Scene, sign_in

TIERS = {
    "model": "graduated",
    "tiers": [
        {"up_to": "1000", "unit_amount": "0.01"},
        {"up_to": None, "unit_amount": "0.008"},
    ],
}
FULL: dict[str, Any] = {
    "model": "recipe",
    "weights": [*WEIGHTS, {"cogs": True, "amount": "100"}],
    "rounding": "half_up",
    "decimals": 2,
    "minimum_per_event": "0.5",
    "markup_percent": "20",
    "price": {
        "model": "included",
        "units": "10000",
        "overage": {"model": "package", "size": "10", "price": TIERS},
    },
}


def body(price: dict[str, Any] = CREDITS) -> dict[str, Any]:
    """Return a plan of credits."""
    return {"currency": "USD", "charges": [charge_of(price)]}


def typed(price: dict[str, Any] = CREDITS) -> Typed:
    """Return a plan of credits as the form has it."""
    return from_body(body(price), limits={}, prorate=False)


@pytest.mark.parametrize("price", [CREDITS, FULL], ids=["credits", "everything"])
def test_the_form_keeps_every_part_of_a_recipe(price: dict[str, Any]) -> None:
    form = typed(price)
    assert form.charges[0].price.model == "recipe"
    assert to_body(form) == body(price)
    assert to_body(posted(form)) == body(price)
    checked = check(posted(form), {})
    assert checked.problems == {}
    assert checked.plan is not None


def weights(*typed: tuple[str, str, str]) -> dict[str, list[str]]:
    """Return rows of the table of weights as they are posted."""
    names = ("measurement", "amount", "per")
    columns = zip(*typed, strict=True)
    return {
        f"c1-weights-{n}": list(texts) for n, texts in zip(names, columns, strict=True)
    }


def test_weights_are_typed_cell_by_cell() -> None:
    table = weights(
        ("input_tokens", "1", "1000"),
        ("", "", "1"),
        (" tool_calls ", "1,005.5", "1"),
        ("cogs", "100", "1"),
    )
    (charge,) = to_body(posted(typed(), **table))["charges"]
    assert charge["price"]["weights"] == [
        {"measurement": "input_tokens", "amount": "1", "per": 1000},
        {"measurement": "tool_calls", "amount": "1005.5"},
        {"cogs": True, "amount": "100"},
    ]


@pytest.mark.parametrize(
    ("changed", "box", "message"),
    [
        (weights(("", "", "1")), "weights-0-measurement", "no row is filled in"),
        (weights(("a", "", "1")), "weights-0-amount", "is blank. Type a number."),
        (weights(("a", "many", "1")), "weights-0-amount", "is no number"),
        (weights(("a", "0", "1")), "weights-0-amount", "zero"),
        (weights(("a", "1", "10")), "weights-0-per", "choose one of the list"),
        (
            weights(("a", "1", "1"), ("", "", "1"), ("a", "2", "1")),
            "weights-2-measurement",
            "a stands above",
        ),
        (
            weights(("a", "1", "1"), ("", "", "1"), ("b", "0.0000000000001", "1")),
            "weights-2-amount",
            "12",
        ),
        ({"c1-rounding": "sideways"}, "rounding", "choose one of the list"),
        ({"c1-decimals": "some"}, "decimals", "whole number"),
        ({"c1-decimals": "13"}, "decimals", "From 0 to 12."),
        ({"c1-minimum_per_event": "0"}, "minimum_per_event", "zero"),
        ({"c1-markup_percent": "-5"}, "markup_percent", "below zero"),
        ({"c1-markup_percent": "1.23456"}, "markup_percent", "4 decimal places"),
    ],
)
def test_a_wrong_box_is_told_with_what_to_type(
    changed: dict[str, Any], box: str, message: str
) -> None:
    checked = check(posted(typed(), **changed), {})
    assert checked.plan is None
    assert message in checked.problems[f"c1-{box}"]


@pytest.mark.parametrize(
    "weight",
    [
        {"measurement": "cogs", "amount": "1"},
        {"measurement": "a", "cogs": True, "amount": "1"},
        {"measurement": "a", "amount": "1", "moon": "full"},
        {"measurement": "a", "amount": "1", "per": 10},
        {"cogs": False, "amount": "1"},
        "input_tokens",
    ],
)
def test_what_no_table_can_say_is_kept_as_json(weight: Any) -> None:
    odd = {**CREDITS, "weights": [weight]}
    form = typed(odd)
    assert form.charges[0].price.model == "json"
    assert to_body(form) == body(odd)


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of credits."""
    made = plans.create_plan(
        product=scene.product, name="Credits", code="credits", actor=None
    )
    plans.save_draft(plan=made, body=body(), limits={}, actor=None)
    return made


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


@pytest.mark.django_db
def test_the_simulator_has_a_slider_for_every_meter_and_says_what_each_adds(
    ana: Client, plan: Plan
) -> None:
    given = opened(ana, plan)
    page = ana.get(path(plan)).content.decode()
    meters = given["meter"]
    assert len(meters) == 4
    for label in ("input tokens", "output tokens", "tool calls", "events"):
        assert f"Credits: {label} <span" in page
    quantities = ("24,000", "8,000", "20", "10")
    texts = {f"q-{m}": q for m, q in zip(meters, quantities, strict=True)}
    answer = ana.post(path(plan, "simulate"), {**given, **texts})
    shown = answer.content.decode()
    assert figure(shown, "Customer pays") == Decimal("1.5")
    for step in (
        "24,000 input tokens × 1 per 1K → 24 credits",
        "8,000 output tokens × 3 per 1K → 24 credits",
        "20 tool calls × 5 → 100 credits",
        "rounding each event → 2 credits",
        "150 × $0.01 = $1.50",
    ):
        assert step in shown
    # The curve over tool calls keeps the other meters: 1,000 more calls, 5,000 credits.
    curved = {**given, **texts, "curve": meters[2]}
    shown = ana.post(path(plan, "simulate"), curved).content.decode()
    assert figure(shown, "Next 1,000 tool calls cost") == Decimal(50)


@pytest.mark.django_db
def test_choosing_a_recipe_shows_its_boxes(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "do": "charge.add"}
    given = boxes(ana.post(path(plan), given).content.decode())
    chosen = {**given, "c2-model": "recipe", "do": "show.c2-model"}
    page = ana.post(path(plan), chosen).content.decode()
    assert 'name="c2-weights-measurement"' in page
    assert 'name="c2-o-unit_amount"' in page


@pytest.mark.django_db
def test_a_customers_month_is_counted_by_the_recipe(
    ana: Client, plan: Plan, scene: Scene
) -> None:
    given = {**opened(ana, plan), "customer": scene.customer.public_id}
    shown = ana.post(path(plan, "simulate"), given).content.decode()
    # Six completions of 2,400 to 2,405 in and 150 out: 3 credits each; six calls of 5;
    # one completion of 900 in and 40 out: 2.
    assert figure(shown, "Customer pays") == Decimal("0.50")
    assert "15,315 input tokens × 1 per 1K → 15.315 credits" in shown
    assert "50 × $0.01 = $0.50" in shown
    assert 'data-value="13"' in shown or ">13<" in shown or "13 events" in shown
