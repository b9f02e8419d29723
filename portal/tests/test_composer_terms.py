"""Minimum and maximum spend and discounts in the composer: typed, kept, priced."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from aforo.core.models import Role
from aforo.lib import clock
from billing.tests.cast import NOVEMBER
from catalog import plans
from catalog.models import Plan
from portal.composer.acts import act
from portal.composer.bodies import from_body, to_body
from portal.composer.checking import check
from portal.composer.term_boxes import shown
from portal.composer.term_texts import Discount, Terms, from_post
from portal.composer.typed import Typed
from portal.tests.composer_kit import (
    BODY,
    EACH,
    METRICS,
    body_of,
    boxes,
    draft,
    figure,
    make_plan,
    opened,
    path,
)
from portal.tests.scene import Scene, sign_in

TERMS: dict[str, Any] = {
    "minimum": "500",
    "maximum": "10000",
    "discounts": [
        {"name": "Launch", "percent": "10", "charges": ["k1"]}
        | {"from": "2026-11-01", "until": "2027-02-01"},
        {"name": "Rebate", "amount": "50"},
    ],
}
FLAT = {"model": "flat", "amount": "99", "due": "advance"}


def typed(**terms: Any) -> Typed:
    """Return the texts of a plan with a fee and a charge of tokens."""
    body = {**body_of(FLAT, EACH), **terms}
    return from_body(body, limits={}, prorate=False)


def posted(form: Typed) -> Terms:
    """Return the terms as a browser would post what the page shows."""
    data = QueryDict(mutable=True)
    made = shown(form, {})
    for box in made.bounds:
        data[box.name] = box.value
    for row in made.discounts:
        data.appendlist("discount", str(row.at))
        for box in row.boxes:
            data[box.name] = box.value
        for tick in row.ticks:
            if tick.is_ticked:
                data.appendlist(f"discount-{row.at}-charges", tick.value)
    return from_post(data)


def test_terms_come_back_from_the_form_as_they_were() -> None:
    form = typed(**TERMS)
    form.terms = posted(form)
    assert to_body(form) == {**body_of(FLAT, EACH), **TERMS}
    assert check(form, METRICS).problems == {}
    plain = typed()
    plain.terms = posted(plain)
    assert to_body(plain) == body_of(FLAT, EACH)


def off(**more: Any) -> Discount:
    """Return a discount as typed."""
    return Discount("Launch", "percent", "10", **more)


PROBLEMS: list[tuple[str, Terms, dict[str, str]]] = [
    (
        "no number",
        Terms(minimum="lots"),
        {
            "plan-minimum": "Minimum spend “lots” is no number. Type digits and a"
            " point, such as 0.0025."
        },
    ),
    (
        "crossed",
        Terms(minimum="500", maximum="400"),
        {"plan-maximum": "400 is below the minimum of 500."},
    ),
    (
        "blank",
        Terms(discounts=[Discount()]),
        {
            "discount-0-name": "Name is blank. Type what the invoice shall say.",
            "discount-0-value": "Discount is blank. Type a number.",
        },
    ),
    (
        "more than all",
        Terms(discounts=[Discount("A", "percent", "101")]),
        {"discount-0-value": "101 is more than all of it: at most 100."},
    ),
    (
        "a charge that is gone",
        Terms(discounts=[off(), off(charges=["c2", "old"])]),
        {"discount-1-charges": "There is no charge old; the plan has k0, k1."},
    ),
    (
        "dates",
        Terms(discounts=[off(starts_on="2026-11-01", ends_on="2026-10-01")]),
        {
            "discount-0-until": "2026-10-01 is not after 2026-11-01, when it begins.",
        },
    ),
    (
        "no date",
        Terms(discounts=[off(starts_on="soon")]),
        {
            "discount-0-from": "“soon” is no date: write year-month-day, such as"
            " 2026-11-01."
        },
    ),
    (
        "twice",
        Terms(discounts=[off(), off()]),
        {"discount-1-name": "Another discount is called Launch: give it another name."},
    ),
]


@pytest.mark.parametrize(
    ("_case", "terms", "problems"), PROBLEMS, ids=[row[0] for row in PROBLEMS]
)
def test_a_problem_is_said_at_its_box(
    _case: str, terms: Terms, problems: dict[str, str]
) -> None:
    form = typed()
    form.terms = terms
    assert check(form, METRICS).problems == problems


def test_what_is_wrong_is_kept_as_it_was_typed() -> None:
    form = typed()
    form.terms = Terms("lots", "", [off(starts_on="soon", charges=["old"])])
    form.terms = posted(form)
    assert to_body(form) == {
        **body_of(FLAT, EACH),
        "minimum": "lots",
        "discounts": [
            {"name": "Launch", "percent": "10", "charges": ["old"], "from": "soon"}
        ],
    }


def test_a_removed_charge_does_not_make_a_discount_of_all() -> None:
    form = typed(**TERMS)
    assert act(form, "c2.remove") == "c1-summary"
    problems = check(form, METRICS).problems
    assert problems == {"discount-0-charges": "There is no charge k1; the plan has k0."}
    (row, _) = shown(form, problems).discounts
    assert [(tick.label, tick.is_ticked) for tick in row.ticks] == [
        ("Charge 0", False),
        ("k1 (not there)", True),
    ]


def test_rows_are_added_and_removed_by_buttons() -> None:
    form = typed(**TERMS)
    assert act(form, "discount.add") == "discount-2-name"
    assert act(form, "discount.0.remove") == "discount-add"
    assert [row.name for row in form.terms.discounts] == ["Rebate", ""]
    assert act(form, "discount.9.remove") == "discount-add"
    assert len(form.terms.discounts) == 2


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a fee of $99 and graduated calls."""
    return make_plan(scene)


def test_terms_are_saved_and_shown_again_without_scripts(
    plan: Plan, ana: Client
) -> None:
    form = opened(ana, plan)
    html = ana.post(path(plan), {**form, "do": "discount.add"}).content.decode()
    assert 'id="discount-0-name"' in html
    form = boxes(html) | {
        "plan-minimum": "$1,500",
        "discount-0-name": "Launch",
        "discount-0-value": "10",
        "discount-0-charges": ["c2"],
        "discount-0-from": "2026-11-01",
    }
    answer = ana.post(path(plan), {**form, "do": "save"})
    assert answer.status_code == 302
    assert {k: draft(plan).body.get(k) for k in ("minimum", "discounts")} == {
        "minimum": "1500",
        "discounts": [
            {"name": "Launch", "percent": "10", "charges": ["calls"]}
            | {"from": "2026-11-01"}
        ],
    }
    again = opened(ana, plan)
    assert again["plan-minimum"] == ["1500"]
    assert again["discount-0-charges"] == ["c2"]


def test_a_problem_is_on_the_page_with_a_link(plan: Plan, ana: Client) -> None:
    form = opened(ana, plan) | {"plan-minimum": "5", "plan-maximum": "4"}
    answer = ana.post(path(plan), {**form, "do": "save"})
    html = answer.content.decode()
    assert answer.status_code == 422
    assert 'href="#plan-maximum"' in html
    assert "4 is below the minimum of 5." in html
    assert draft(plan).body["maximum"] == "4"


def simulated(client: Client, plan: Plan, **changes: Any) -> str:
    """Return what the simulator answers."""
    form = opened(client, plan) | changes
    answer = client.post(path(plan, "simulate"), form)
    assert answer.status_code == 200
    return answer.content.decode()


def keep(plan: Plan, **terms: Any) -> None:
    """Save the draft with terms."""
    plans.save_draft(plan=plan, body={**BODY, **terms}, limits={}, actor=None)


def test_the_simulator_bills_the_terms_and_draws_them(plan: Plan, ana: Client) -> None:
    keep(plan, minimum="500", discounts=[{"name": "Rebate", "amount": "9"}])
    html = simulated(ana, plan)
    assert figure(html, "Customer pays") == Decimal(500)
    assert "up to $9.00 off" in html
    assert "minimum spend $500.00" in html
    # Up to the minimum more usage costs nothing more.
    assert figure(html, "Next 1,000") == 0


def test_dated_discounts_go_by_the_month_of_the_simulator(
    plan: Plan, ana: Client
) -> None:
    half = {"name": "Half", "percent": "50", "charges": ["platform"]}
    keep(plan, discounts=[{**half, "from": "2026-11-01", "until": "2026-12-01"}])
    with clock.travel(NOVEMBER):
        assert 'value="2026-11"' in ana.get(path(plan)).content.decode()
        now = figure(simulated(ana, plan), "Customer pays")
        then = simulated(ana, plan, as_of="2026-12")
        assert figure(then, "Customer pays") - now == Decimal("49.5")
        wrong = simulated(ana, plan, as_of="soon")
    assert "soon is no month. Type year-month, such as 2026-11." in wrong
    assert 'id="figures"' not in wrong


def test_two_writers_see_that_the_terms_differ(plan: Plan, ana: Client) -> None:
    form = opened(ana, plan)
    keep(plan, minimum="500")
    answer = ana.post(path(plan), {**form, "do": "save"})
    assert answer.status_code == 409
    assert "minimum spend" in answer.content.decode()
