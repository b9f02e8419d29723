"""Further currencies in the composer: typed figure by figure, kept, and judged."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan, PlanVersion
from catalog.pricing import parse_plan
from catalog.tests.recipe_kit import COST, CREDITS, charge_of
from portal.composer.acts import act
from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.currencies import figures
from portal.tests.composer_kit import METRICS, PRICES, body_of, boxes, make_plan, path
from portal.tests.scene import Scene, sign_in
from portal.tests.test_composer_agentic import COMPOUND, DIMENSIONS

IN_EUR = {
    "platform": {"price": {"model": "flat", "amount": "90", "due": "advance"}},
    "calls": {
        "price": {
            "model": "graduated",
            "tiers": [
                {"up_to": "1000", "unit_amount": "0.009"},
                {"up_to": "10000", "unit_amount": "0.0070"},
                {"up_to": None, "unit_amount": "0.0045"},
            ],
        }
    },
}


def in_euros(body: dict[str, Any]) -> dict[str, Any]:
    """Return plan JSON with every figure doubled in euros."""
    charges = {}
    for row in body["charges"]:
        said = {"price": copy.deepcopy(row["price"])}
        said |= {n: row[n] for n in ("minimum", "maximum") if n in row}
        charges[row["key"]] = said
    return {**body, "currencies": {"EUR": {"charges": charges}}}


@pytest.mark.parametrize("price", [*PRICES, DIMENSIONS, COMPOUND])
def test_every_price_is_read_and_written_unchanged(price: dict[str, Any]) -> None:
    body = in_euros(body_of(price))
    typed = from_body(body, limits={}, prorate=False)
    assert "json" not in typed.currencies["EUR"]["c1"]
    assert to_body(typed)["currencies"] == body["currencies"]
    has_money = price.get("overage", price)["model"] != "percentage"
    assert bool(figures(body["charges"][0])) or not has_money


def test_a_price_of_another_shape_is_kept_as_json() -> None:
    body = in_euros(body_of({"model": "per_unit", "unit_amount": "1"}))
    other = {
        "price": {"model": "volume", "tiers": [{"up_to": None, "unit_amount": "2"}]}
    }
    body["currencies"]["EUR"]["charges"]["k0"] = other
    typed = from_body(body, limits={}, prorate=False)
    assert list(typed.currencies["EUR"]["c1"]) == ["json"]
    assert to_body(typed) == body
    checked = check(typed, METRICS)
    assert checked.problems == {}
    assert checked.plan is not None
    assert checked.plan.currencies == ("USD", "EUR")


def test_a_currency_is_added_blank_and_every_blank_is_a_problem() -> None:
    body = body_of({"model": "per_unit", "unit_amount": "1"}, minimum="5")
    typed = from_body(body, limits={}, prorate=False)
    assert act(typed, "currency.EUR.add") == "currencies-summary"
    assert act(typed, "currency.USD.add") == "currencies-summary"
    assert list(typed.currencies) == ["EUR"]
    checked = check(typed, METRICS)
    assert checked.problems == {
        "currencies-summary": "Charge 0: Price in EUR is blank."
        " Press “Show all figures”."
    }
    typed.currencies["EUR"]["c1"] = {"price/unit_amount": "0.9", "minimum": ""}
    assert check(typed, METRICS).problems == {}
    assert to_body(typed)["currencies"]["EUR"]["charges"]["k0"]["minimum"] is None
    act(typed, "currency.EUR.remove")
    assert to_body(typed) == body


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dear", "Price in EUR “dear” is no number."),
        ("-1", "Price in EUR must not be below zero; you entered -1."),
        ("0,5", "Price in EUR “0,5” is unclear. Type 0.5."),
    ],
)
def test_a_wrong_figure_is_said_at_its_box(text: str, message: str) -> None:
    typed = from_body(
        in_euros(body_of({"model": "per_unit", "unit_amount": "1"})),
        limits={},
        prorate=False,
    )
    typed.currencies["EUR"]["c1"]["price/unit_amount"] = text
    checked = check(typed, METRICS)
    (found,) = checked.problems.items()
    assert found[0] == "cur-EUR-c1-price/unit_amount"
    assert found[1].startswith(message)
    assert checked.plan is None


def test_what_the_engine_refuses_is_said_at_its_box() -> None:
    body = body_of({"model": "percentage", "rate": "2", "minimum": "1", "maximum": "5"})
    typed = from_body(in_euros(body), limits={}, prorate=False)
    typed.currencies["EUR"]["c1"]["price/maximum"] = "0.5"
    (found,) = check(typed, METRICS).problems.items()
    assert found == ("cur-EUR-c1-price/maximum", "Is below the minimum.")
    typed.currency = "EUR"
    (found,) = check(typed, METRICS).problems.items()
    assert found[0] == "currencies-summary"


def test_a_charge_that_goes_or_is_doubled_takes_its_figures_along() -> None:
    body = in_euros(
        body_of(
            {"model": "per_unit", "unit_amount": "1"},
            {"model": "flat", "amount": "9", "due": "advance"},
        )
    )
    typed = from_body(body, limits={}, prorate=False)
    act(typed, "c1.duplicate")
    act(typed, "c2.remove")
    made = to_body(typed)
    assert len(made["charges"]) == 2
    assert made["currencies"]["EUR"]["charges"].keys() == {
        row["key"] for row in made["charges"]
    }
    assert typed.currencies["EUR"].keys() == {"c1", "c3"}


@pytest.mark.django_db
class TestPages:
    """The section in the form, saved and published."""

    def opened(self, client: Client, plan: Plan, **more: Any) -> dict[str, Any]:
        """Return the form after a post."""
        form = boxes(client.get(path(plan)).content.decode()) | more
        answer = client.post(path(plan), form)
        assert answer.status_code == 200
        return boxes(answer.content.decode())

    def test_a_currency_is_added_filled_in_saved_and_published(
        self, scene: Scene
    ) -> None:
        client = sign_in(scene, Role.PRODUCT_MANAGER)
        plan = make_plan(scene)
        form = self.opened(client, plan, do="currency.add", currency_new="EUR")
        assert form["further"] == ["EUR"]
        names = [name for name in form if name.startswith("cur-EUR-")]
        assert len(names) == 4
        figures = dict(zip(names, ("90", "0.009", "0.0070", "0.0045"), strict=True))
        answer = client.post(path(plan), form | figures | {"do": "save"})
        assert answer.status_code == 302
        draft = PlanVersion.objects.get(plan=plan)
        assert draft.body["currencies"] == {"EUR": {"charges": IN_EUR}}
        html = client.get(path(plan)).content.decode()
        assert 'value="0.0070"' in html
        version = plans.publish(version=draft, actor=None)
        assert parse_plan(version.body).currencies == ("USD", "EUR")
        page = client.get(f"/plans/{plan.public_id}?currency=EUR").content.decode()
        prices = page[page.index("Prices of v1") :]
        assert "€90.00" in prices
        assert "$99.00" not in prices

    def test_a_wrong_figure_is_kept_and_said(self, scene: Scene) -> None:
        client = sign_in(scene, Role.PRODUCT_MANAGER)
        plan = make_plan(scene)
        form = self.opened(client, plan, do="currency.add", currency_new="EUR")
        names = [name for name in form if name.startswith("cur-EUR-")]
        wrong = {names[0]: "ninety"}
        answer = client.post(path(plan), form | wrong | {"do": "save"})
        html = answer.content.decode()
        assert answer.status_code == 422
        assert "Amount in EUR “ninety” is no number" in html
        assert f'id="{names[0]}-error"' in html
        assert boxes(html)[names[0]] == ["ninety"]
        draft = PlanVersion.objects.get(plan=plan)
        charges = draft.body["currencies"]["EUR"]["charges"]
        assert charges["platform"]["price"]["amount"] == "ninety"


WHOLE_PLAN = {
    "minimum": "500",
    "discounts": [
        {"name": "Launch offer", "percent": "10"},
        {"name": "Partner rebate", "amount": "50"},
    ],
    "levels": [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "50"},
    ],
}
WHOLE_IN_EUR = {
    "minimum": "450",
    "discounts": [
        {"name": "Launch offer", "percent": "10"},
        {"name": "Partner rebate", "amount": "45"},
    ],
    "levels": [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "46"},
    ],
}


def whole_body() -> dict[str, Any]:
    """Return plan JSON with money for all charges together, in two currencies."""
    one = {"model": "per_unit", "unit_amount": "1"}
    body = in_euros({**body_of(one), **WHOLE_PLAN})
    body["currencies"]["EUR"] |= WHOLE_IN_EUR
    return body


def test_the_whole_plan_has_its_figures_in_each_currency() -> None:
    body = whole_body()
    typed = from_body(body, limits={}, prorate=False)
    assert typed.currencies["EUR"]["whole"] == {
        "minimum": "450",
        "discounts/1/amount": "45",
        "levels/1/spend_from": "46",
    }
    assert to_body(typed)["currencies"] == body["currencies"]
    plan = check(typed, METRICS).plan
    assert plan is not None
    assert [one.minimum for one in (plan, *plan.variants)] == [500, 450]


def test_a_wrong_figure_of_the_whole_plan_is_said_at_its_box() -> None:
    typed = from_body(whole_body(), limits={}, prorate=False)
    typed.currencies["EUR"]["whole"]["discounts/1/amount"] = "a lot"
    checked = check(typed, METRICS)
    assert set(checked.problems) == {"cur-EUR-whole-discounts/1/amount"}
    typed = from_body(whole_body(), limits={}, prorate=False)
    typed.terms.maximum = "900"
    typed.currencies["EUR"]["whole"]["maximum"] = "300"
    assert set(check(typed, METRICS).problems) == {"cur-EUR-whole-maximum"}


def test_one_of_our_cost_weighs_what_each_currency_says() -> None:
    cost = {**CREDITS, "weights": [*CREDITS["weights"], COST]}
    body: dict[str, Any] = {"currency": "USD", "charges": [charge_of(cost)]}
    said = {
        "price": {**cost, "weights": [*CREDITS["weights"], {**COST, "amount": "9"}]}
    }
    body["currencies"] = {"EUR": {"charges": {"credits": said}}}
    typed = from_body(body, limits={}, prorate=False)
    assert typed.currencies["EUR"]["c1"]["price/weights/3/amount"] == "9"
    assert to_body(typed)["currencies"] == body["currencies"]
    typed.currencies["EUR"]["c1"]["price/weights/3/amount"] = "many"
    assert "cur-EUR-c1-price/weights/3/amount" in check(typed, METRICS).problems
