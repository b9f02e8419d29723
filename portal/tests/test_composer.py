"""The composer's pages: roles, structure, saving, conflicts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from catalog import plans, products
from catalog.models import Plan, PlanVersion, ProductType
from portal.tests.composer_kit import (
    BODY,
    CALLS,
    boxes,
    draft,
    figure,
    make_plan,
    opened,
    path,
)
from portal.tests.scene import Scene, sign_in
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    return make_plan(scene)


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def test_opening_and_saving_changes_nothing(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 302
    stored = draft(plan)
    assert stored.body == BODY
    assert stored.limits == {"on_outage": "open"}
    assert stored.revision == 1


def test_a_form_with_problems_is_saved_and_shown_again(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "c2-unit_amount": ["0.01", "abc", "0.005"]}
    answer = ana.post(path(plan), {**given, "do": "save"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Tool calls: Tier 2 price “abc” is no number." in page
    assert 'href="#c2-tier-1-unit_amount"' in page
    assert 'value="abc" autocomplete="off" inputmode="decimal" class="figure"' in page
    stored = draft(plan)
    assert stored.body["charges"][1]["price"]["tiers"][1]["unit_amount"] == "abc"
    assert 'value="abc"' in ana.get(path(plan)).content.decode()


def test_every_saving_is_audited_with_who_did_it(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    ana.post(path(plan), {**opened(ana, plan), "c1-amount": "120", "do": "save"})
    entry = AuditEntry.objects.filter(action="plan.draft_saved").latest("created_at")
    assert entry.actor == scene.people[Role.PRODUCT_MANAGER]
    assert draft(plan).saved_by == scene.people[Role.PRODUCT_MANAGER]


def test_limits_without_a_box_are_kept(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "spend_cap": "25.00", "do": "save"}
    ana.post(path(plan), given)
    assert draft(plan).limits == {"on_outage": "open", "spend_cap": "25.00"}


def test_structure_changes_without_being_saved(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    added = ana.post(path(plan), {**given, "do": "charge.add"})
    page = added.content.decode()
    assert added.status_code == 200
    assert re.search(r'id="c3-name"[^>]* autofocus', page)
    again = ana.post(path(plan), {**boxes(page), "do": "c3.remove"}).content.decode()
    assert 'id="c3-name"' not in again
    moved = ana.post(path(plan), {**given, "do": "c2.up"}).content.decode()
    assert boxes(moved)["row"] == ["c2", "c1"]
    assert draft(plan).body == BODY


def test_autosave_says_when_and_counts(ana: Client, plan: Plan) -> None:
    given = {**opened(ana, plan), "c1-amount": "120", "do": "autosave"}
    answer = ana.post(path(plan), given)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "saved <time" in page
    assert 'name="revision" value="2"' in page
    assert draft(plan).body["charges"][0]["price"]["amount"] == "120"


@pytest.mark.parametrize("deed", ["save", "autosave"])
def test_the_second_writer_sees_both_and_chooses(
    scene: Scene, ana: Client, plan: Plan, deed: str
) -> None:
    given = opened(ana, plan)
    ben = sign_in(scene, Role.OWNER)
    ben.post(path(plan), {**opened(ben, plan), "c1-amount": "150", "do": "save"})
    mine = {**given, "c1-amount": "80", "c2-name": "Calls", "do": deed}
    answer = ana.post(path(plan), mine)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert f"was saved by {scene.shop.owner} at" in page
    for words in ("$150", "$80", "Calls: $0.01"):
        assert words in page, words
    assert draft(plan).body["charges"][0]["price"]["amount"] == "150"
    shown = re.search(r'name="their_revision" value="([0-9]+)"', page)
    assert shown is not None
    over = {**mine, "do": "overwrite", "their_revision": shown[1]}
    assert ana.post(path(plan), over).status_code == 302
    assert draft(plan).body["charges"][0]["price"]["amount"] == "80"


def test_overwriting_asks_again_when_a_third_was_faster(
    scene: Scene, ana: Client, plan: Plan
) -> None:
    given = opened(ana, plan)
    ben = sign_in(scene, Role.OWNER)
    for amount in ("150", "160"):
        ben.post(path(plan), {**opened(ben, plan), "c1-amount": amount, "do": "save"})
    over = {**given, "c1-amount": "80", "do": "overwrite", "their_revision": "2"}
    assert ana.post(path(plan), over).status_code == 409
    assert draft(plan).body["charges"][0]["price"]["amount"] == "160"


def test_what_was_published_meanwhile_is_said(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    plans.publish(version=draft(plan), actor=None)
    answer = ana.post(path(plan), {**given, "c1-amount": "80", "do": "save"})
    assert answer.status_code == 409
    assert "Growth v1 was published at" in answer.content.decode()
    assert not PlanVersion.objects.filter(plan=plan, state="draft").exists()


def test_a_published_plan_is_edited_as_its_next_version(
    ana: Client, plan: Plan
) -> None:
    plans.publish(version=draft(plan), actor=None)
    page = ana.get(path(plan)).content.decode()
    assert "Draft v2" in page
    assert "v1 is live" in page
    assert re.search(r'id="c1-key"[^>]* readonly', page)
    assert PlanVersion.objects.count() == 2  # Looking makes no draft.
    ana.post(path(plan), {**boxes(page), "c1-amount": "150", "do": "save"})
    assert draft(plan).number == 2
    again = ana.get(path(plan)).content.decode()
    assert figure(again, "Compared with v1") == 51


@pytest.mark.parametrize(
    "role", [Role.VIEWER, Role.FINANCE, Role.OPERATIONS, Role.DEVELOPER]
)
def test_only_those_who_price_compose(scene: Scene, plan: Plan, role: Role) -> None:
    client = sign_in(scene, role)
    for page in ("edit", "simulate"):
        assert client.post(path(plan, page), {}).status_code == 403
    assert client.get(path(plan)).status_code == 403
    assert client.get("/plans/new").status_code == 403
    assert client.post("/plans/new", {"name": "X"}).status_code == 403
    assert draft(plan).body == BODY


def test_plans_of_others_and_absent_ones_are_not_found(
    scene: Scene, ana: Client
) -> None:
    other = make_tenant()
    product = products.create_product(
        tenant=other, name="P", code="p", type=ProductType.AGENTIC_API, actor=None
    )
    foreign = plans.create_plan(product=product, name="F", code="f", actor=None)
    for plan in (foreign.public_id, "pln_nothing", "x"):
        for page in ("edit", "simulate"):
            assert ana.post(f"/plans/{plan}/{page}", {}).status_code == 404
        assert ana.get(f"/plans/{plan}/edit").status_code == 404


def test_the_simulator_only_answers_what_is_posted(ana: Client, plan: Plan) -> None:
    assert ana.get(path(plan, "simulate")).status_code == 405


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"row": "x", "do": "save"},
        {"row": ["c1", "c1", "c2"], "revision": "-1"},
        {"row": "c1", "c1-model": "no such", "revision": "9" * 30},
        {"row": "c1", "c1-model": "included", "c1-overage": "included"},
        {"row": "c1", "c1-model": "graduated", "c1-was": "json", "currency": "???"},
        {"customer": "cus_x", "curve": "x", "do": "\x00"},
    ],
)
def test_forged_forms_break_nothing(ana: Client, plan: Plan, given: Any) -> None:
    assert ana.post(path(plan, "simulate"), given).status_code == 200
    answer = ana.post(path(plan), {"do": "c1.up", **given})
    assert answer.status_code in (200, 302, 409, 422)


def test_a_form_of_twenty_charges_with_thirty_tiers_is_taken(
    ana: Client, plan: Plan
) -> None:
    tiers = [
        {"up_to": str(n * 1000), "unit_amount": f"0.{90 - n}"} for n in range(1, 30)
    ]
    price = {
        "model": "graduated",
        "tiers": [*tiers, {"up_to": None, "unit_amount": "0.1"}],
    }
    charges = [
        {**CALLS, "key": f"k{n}", "filter": {"tool": f"t{n}"}, "price": price}
        for n in range(20)
    ]
    body = {"currency": "USD", "charges": charges}
    plans.save_draft(plan=plan, body=body, limits={}, actor=None)
    given = opened(ana, plan)
    assert sum(len(v) for v in given.values()) > 1_800
    assert ana.post(path(plan), {**given, "do": "save"}).status_code == 302
    assert draft(plan).body == body
