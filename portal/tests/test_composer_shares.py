"""Whose box it is in the composer: finance's the markup, product managers' the rest."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan
from catalog.tests.recipe_kit import CREDITS, charge_of
from portal.tests.composer_kit import CALLS, FEE, boxes, draft, path
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db
MARKED = {**CREDITS, "markup_percent": "20"}
AGENT = {
    "key": "agent",
    "name": "Agent work",
    "price": {"model": "dimensions", "tool_invocations": {"search": "0.1", "*": "1"}},
}
BODY = {
    "currency": "USD",
    "charges": [FEE, charge_of(MARKED), CALLS, AGENT],
    "levels": [
        {"key": "free", "name": "Free"},
        {"key": "scale", "name": "Scale", "spend_from": "50"},
    ],
    "minimum": "10",
    "discounts": [{"name": "Launch", "percent": "5"}],
}
MARKUP = "c2-markup_percent"


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of a fee, marked-up credits and calls."""
    made = plans.create_plan(
        product=scene.product, name="Credits", code="credits", actor=None
    )
    limits = {"spend_cap": "5", "on_outage": "open"}
    plans.save_draft(plan=made, body=BODY, limits=limits, actor=None)
    return made


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


@pytest.fixture
def fay(scene: Scene) -> Client:
    """Finance's browser."""
    return sign_in(scene, Role.FINANCE)


def page(client: Client, plan: Plan) -> str:
    """Return the composer's page."""
    answer = client.get(path(plan))
    assert answer.status_code == 200
    return answer.content.decode()


def sent(html: str) -> dict[str, Any]:
    """Return what a browser posts of a page: nothing of what is disabled."""
    off = r"<(input|textarea)\b[^>]*\bdisabled\b[^>]*>"
    lists = r"<select\b[^>]*\bdisabled\b[^>]*>.*?</select>"
    return boxes(re.sub(off, "", re.sub(lists, "", html, flags=re.S)))


def markup(plan: Plan) -> str | None:
    """Return the stored markup."""
    found: str | None = draft(plan).body["charges"][1]["price"].get("markup_percent")
    return found


def test_a_product_manager_sees_the_markup_and_cannot_type_it(
    ana: Client, plan: Plan
) -> None:
    html = page(ana, plan)
    box = re.search(rf'<input[^>]*name="{MARKUP}"[^>]*>', html)
    assert box is not None
    assert 'value="20"' in box[0]
    assert 'disabled title="Finance sets the markup."' in box[0]
    assert "Finance sets the markup. You see it here and cannot change it." in html
    given = sent(html)
    assert MARKUP not in given
    # What the browser does not send stays as it is, while everything else changes.
    changed = {**given, "c2-o-unit_amount": "0.02", "c2-minimum_per_event": "2"}
    assert ana.post(path(plan), {**changed, "do": "save"}).status_code == 302
    (_, stored, *_) = draft(plan).body["charges"]
    assert stored["price"]["markup_percent"] == "20"
    assert stored["price"]["price"]["unit_amount"] == "0.02"


def test_a_copy_of_a_recipe_has_no_markup_before_finance_gives_it_one(
    ana: Client, plan: Plan
) -> None:
    given = {**sent(page(ana, plan)), "do": "c2.duplicate"}
    answer = ana.post(path(plan), given)
    copied = sent(answer.content.decode())
    assert ana.post(path(plan), {**copied, "do": "save"}).status_code == 302
    marks = [row["price"].get("markup_percent") for row in draft(plan).body["charges"]]
    assert marks == [None, "20", None, None, None]


@pytest.mark.parametrize("deed", ["save", "autosave"])
def test_a_markup_that_a_product_manager_sends_is_refused(
    ana: Client, plan: Plan, deed: str
) -> None:
    given = {**sent(page(ana, plan)), MARKUP: "35", "do": deed}
    answer = ana.post(path(plan), given)
    shown = answer.content.decode()
    assert answer.status_code == 403
    assert "Finance sets the markup. It is 20 % and you entered 35 %" in shown
    assert markup(plan) == "20"
    assert draft(plan).revision == 1
    if deed == "save":
        assert f'href="#{MARKUP}"' in shown
        assert 'value="35"' in shown
    else:
        assert "not saved: Finance" in shown


def test_finance_types_the_markup_and_sees_the_rest_disabled(
    fay: Client, plan: Plan
) -> None:
    html = page(fay, plan)
    assert "You set the markup" in html
    given = sent(html)
    kept = re.compile("fold-.*|.*-(open|of|was)")  # How the page stands, no price.
    assert {n for n in given if not kept.fullmatch(n)} <= {
        MARKUP,
        "row",
        "revision",
        "csrfmiddlewaretoken",
        "do",
        "customer",
        "customer_was",
        "meter",
        "curve",
        *(name for name in given if re.fullmatch(r"[qkn]-\w+", name)),
    }
    for name in (
        "currency",
        "c1-amount",
        "c2-weights-amount",
        "c3-unit_amount",
        "spend_cap",
    ):
        tag = re.search(rf'<(?:input|select|textarea)[^>]*name="{name}"[^>]*>', html)
        assert tag is not None
        assert "disabled" in tag[0]
    assert 'title="Product managers set everything but the markup."' in html
    before = draft(plan)
    answer = fay.post(path(plan), {**given, MARKUP: "12.5", "do": "save"})
    assert answer.status_code == 302
    after = draft(plan)
    assert markup(plan) == "12.5"
    after.body["charges"][1]["price"]["markup_percent"] = "20"
    assert (after.body, after.limits) == (before.body, before.limits)
    # Also while typing, and what is not right is kept and told.
    given = sent(page(fay, plan))
    blank = fay.post(path(plan), {**given, MARKUP: "", "do": "autosave"})
    assert blank.status_code == 200
    assert markup(plan) is None
    given = sent(page(fay, plan))
    wrong = fay.post(path(plan), {**given, MARKUP: "lots", "do": "save"})
    assert wrong.status_code == 422
    assert "Markup in %" in wrong.content.decode()


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("c1-amount", "1", "c1"),
        ("c2-weights-amount", "9", "c2"),
        ("c3-name", "Calls", "c3"),
        ("currency", "EUR", "currency"),
        ("spend_cap", "1", "currency"),
        ("prorate", "on", "prorate"),
        ("plan-minimum", "1", "currency"),
        ("discount-0-value", "50", "currency"),
        ("level_name", "Gratis", "currency"),
        ("further", "EUR", "currency"),
    ],
)
def test_what_else_finance_sends_is_refused(
    fay: Client, plan: Plan, name: str, text: str, field: str
) -> None:
    # As if the disabled boxes had been made to send.
    given = {**boxes(page(fay, plan)), name: text, "do": "save"}
    answer = fay.post(path(plan), given)
    assert answer.status_code == 403
    assert "Product managers set everything but the markup." in (
        answer.content.decode()
    )
    stored = draft(plan)
    assert (stored.body, stored.revision) == (BODY, 1)
    alone = {**sent(page(fay, plan)), name: text, "do": "autosave"}
    assert fay.post(path(plan), alone).status_code == 403
    assert draft(plan).body == BODY


def test_finance_sending_the_whole_form_unchanged_sets_the_markup(
    fay: Client, plan: Plan
) -> None:
    given = {**boxes(page(fay, plan)), MARKUP: "30", "do": "save"}
    assert fay.post(path(plan), given).status_code == 302
    assert markup(plan) == "30"


def test_finance_changes_no_structure_and_begins_no_plan(
    fay: Client, plan: Plan
) -> None:
    given = sent(page(fay, plan))
    for deed in ("charge.add", "c1.remove", "c3.tier.add"):
        assert fay.post(path(plan), {**given, "do": deed}).status_code == 403
    assert fay.get("/plans/new").status_code == 403
    assert fay.get(path(plan, "publish")).status_code == 403
    # What the simulator sends beside it is no part of the plan.
    more = {MARKUP: "100", "scenario_name": "x", "customer": "sample"}
    simulated = fay.post(path(plan, "simulate"), {**given, **more})
    assert simulated.status_code == 200
    assert "100 % markup on" in simulated.content.decode()


def test_two_of_finance_in_one_draft_are_told(fay: Client, plan: Plan) -> None:
    given = sent(page(fay, plan))
    assert fay.post(path(plan), {**given, MARKUP: "1", "do": "save"}).status_code == 302
    second = fay.post(path(plan), {**given, MARKUP: "2", "do": "save"})
    assert second.status_code == 409
    again = {**given, MARKUP: "2", "do": "overwrite", "their_revision": "2"}
    assert fay.post(path(plan), again).status_code == 302
    assert markup(plan) == "2"


def test_an_owner_types_both_and_a_viewer_none(scene: Scene, plan: Plan) -> None:
    olga = sign_in(scene, Role.OWNER)
    html = page(olga, plan)
    assert {MARKUP, "c1-amount", "c2-weights-amount", "currency"} <= set(sent(html))
    given = {**sent(html), MARKUP: "1", "c1-amount": "50", "do": "save"}
    assert olga.post(path(plan), given).status_code == 302
    assert markup(plan) == "1"
    victor = sign_in(scene, Role.VIEWER)
    assert victor.get(path(plan)).status_code == 403


def test_the_plans_page_leads_finance_to_the_markup(
    fay: Client, scene: Scene, plan: Plan
) -> None:
    assert "Set markup" in fay.get(f"/plans/{plan.public_id}").content.decode()
    other = scene.shop.version.plan
    assert "Set markup" not in fay.get(f"/plans/{other.public_id}").content.decode()
    # Without a recipe there is nothing to set.
    assert fay.get(path(other)).status_code == 403


def test_a_file_changes_no_markup_for_a_product_manager(
    ana: Client, plan: Plan
) -> None:
    said = {**BODY, "charges": [charge_of({**CREDITS, "markup_percent": "5"})]}
    given = {"text": json.dumps(said), "replace": "on"}
    answer = ana.post(path(plan, "import"), given)
    assert "Finance sets the markup. It is 20 % and you entered 5 %" in (
        answer.content.decode()
    )
    assert draft(plan).body == BODY
