"""What the plan pages answer to strangers, and to whatever is typed: never 500."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Membership, Role
from catalog import plans
from catalog.models import Plan, PlanVersion
from portal.tests.composer_everything import LIMITS, everything
from portal.tests.composer_kit import boxes
from portal.tests.scene import Scene, sign_in
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db
TEXTS = (
    "",
    "\0",
    "１２",
    "²",
    "-1",
    "1e999999999",
    "NaN",
    "9" * 5000,
    "[[[",
    '{"charges": {"a": [1, null]}}',
    '"; = , ;',
    "<script>alert(1)</script>",
    "2026-13-45",
    "USD",
    "json",
)
DEEDS = (
    "save",
    "autosave",
    "overwrite",
    "",
    "\0",
    "show.",
    "charge.add",
    "c999999.up",
    "c0.remove",
    "c2.tier.999.remove",
    "c2-o-o-o.tier.add",
    "c3.rows.weights.9999.remove",
    "c3.filter.999.remove",
    "discount.99.remove",
    "level.99.up",
    "currency.add",
    "currency.ZZZ.add",
    "currency.EUR.remove",
    "quota.add",
    "apply",
    "delete-now",
)
# Page, and whether a form is posted there.
PLAN_PAGES = (
    ("edit", True),
    ("simulate", True),
    ("scenario", True),
    ("preview", False),
    ("outcomes", False),
    ("outcomes/brief", False),
)
QUERY = ("version", "currency", "charge", "span", "show", "tab", "product")


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft that has everything."""
    made = plans.create_plan(product=scene.product, name="All", code="all", actor=None)
    plans.save_draft(plan=made, body=everything(), limits=LIMITS, actor=None)
    return made


def test_everything_can_be_published_and_comes_back_as_it_was(plan: Plan) -> None:
    draft = PlanVersion.objects.get(plan=plan)
    assert plans.publish(version=draft, actor=None).state == "published"
    assert len(draft.body["charges"]) >= 10


def filled(form: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a form in which everything typed says one text."""
    kept = ("row", "discount", "further", "meter")
    return {
        name: values if name in kept else [text] * len(values)
        for name, values in form.items()
        if "-was" not in name and not name.endswith("-model")
    } | {n: v for n, v in form.items() if "-was" in n or n.endswith("-model")}


@pytest.mark.parametrize(("page", "takes_form"), PLAN_PAGES)
def test_no_text_breaks_a_page_of_a_plan(
    scene: Scene, plan: Plan, page: str, takes_form: bool
) -> None:
    client = sign_in(scene, Role.OWNER)
    address = f"/plans/{plan.public_id}/{page}"
    form = boxes(client.get(f"/plans/{plan.public_id}/edit").content.decode())
    for text in TEXTS:
        answers = [client.get(address, dict.fromkeys(QUERY, text))]
        if takes_form:
            given = filled(form, text)
            answers += [
                client.post(address, {**given, "do": "save", "scenario": "save"}),
                client.post(address, dict.fromkeys(form, text)),
                client.post(address, {**form, "scenario": text, "do": text}),
            ]
        codes = [answer.status_code for answer in answers]
        assert max(codes) < 500, (text[:20], codes)
    for deed in DEEDS if takes_form else ():
        for given in (form, {}):
            answer = client.post(address, {**given, "do": deed, "scenario": deed})
            assert answer.status_code < 500, deed


def test_no_text_breaks_own_prices(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    address = f"/subscriptions/{scene.subscription.public_id}/prices"
    form = boxes(client.get(address).content.decode())
    own = {f"{uid}-own": "1" for uid in form["row"]}
    keys = {name: form[name] for name in form if name.endswith("-key")}
    for text in TEXTS:
        for deed in ("review", "apply", text):
            for given in (filled(form, text) | keys, dict.fromkeys(form, text)):
                answer = client.post(address, {**given, **own, "do": deed})
                assert answer.status_code < 500, (text[:20], deed)
    for deed in DEEDS:
        assert client.post(address, {**form, "do": deed}).status_code < 500, deed


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATIONS, Role.DEVELOPER, None])
def test_who_may_not_is_told_so(scene: Scene, plan: Plan, role: Role | None) -> None:
    client = Client(raise_request_exception=False)
    if role is None:
        stranger = make_user()
        Membership.objects.create(tenant=make_tenant(), user=stranger, role=Role.OWNER)
        client.force_login(stranger)
    else:
        client.force_login(scene.people[role])
    own = f"/subscriptions/{scene.subscription.public_id}/prices"
    writes = [f"/plans/{plan.public_id}/{p}" for p, form in PLAN_PAGES if form]
    reads = [f"/plans/{plan.public_id}/{p}" for p, form in PLAN_PAGES if not form]
    before = PlanVersion.objects.get(plan=plan).body
    for address in (*writes, own):
        answer = client.post(address, {"do": "save", "scenario": "save"})
        assert answer.status_code in (403, 404), address
    assert PlanVersion.objects.get(plan=plan).body == before
    reading = role in (Role.VIEWER, Role.OPERATIONS)
    for address in reads:
        code = client.get(address).status_code
        assert code == 200 if reading else code in (403, 404), address


@pytest.mark.parametrize(
    "page", [page for page, takes_form in PLAN_PAGES if takes_form]
)
def test_a_form_without_its_token_is_refused(
    scene: Scene, plan: Plan, page: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(scene.people[Role.OWNER])
    address = f"/plans/{plan.public_id}/{page}"
    assert client.post(address, {"do": "save"}).status_code == 403
    own = f"/subscriptions/{scene.subscription.public_id}/prices"
    assert client.post(own, {"do": "apply"}).status_code == 403
