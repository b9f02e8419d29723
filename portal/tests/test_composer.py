"""The composer's pages: roles, structure, saving, conflicts, figures."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import Role
from catalog import plans
from catalog.models import Plan, PlanVersion
from portal.tests.scene import Scene, sign_in

pytestmark = pytest.mark.django_db
GRADUATED = {
    "key": "calls",
    "name": "Tool calls",
    "unit": "calls",
    "metric": "tool_calls",
    "price": {
        "model": "graduated",
        "tiers": [
            {"up_to": "1000", "unit_amount": "0.0100"},
            {"up_to": "10000", "unit_amount": "0.0080"},
            {"up_to": None, "unit_amount": "0.0050"},
        ],
    },
}
FEE = {
    "key": "platform",
    "name": "Platform fee",
    "price": {"model": "flat", "amount": "99", "due": "advance"},
}
BODY = {"currency": "USD", "charges": [FEE, GRADUATED]}


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A plan with a draft of two charges."""
    plan = plans.create_plan(
        product=scene.product, name="Growth", code="growth", actor=None
    )
    plans.save_draft(plan=plan, body=BODY, limits={"on_outage": "open"}, actor=None)
    return plan


@pytest.fixture
def ana(scene: Scene) -> Client:
    """A product manager's browser."""
    return sign_in(scene, Role.PRODUCT_MANAGER)


def path(plan: Plan, page: str = "edit") -> str:
    """Return an address of the plan's composer."""
    return f"/plans/{plan.public_id}/{page}"


def boxes(html: str) -> dict[str, Any]:
    """Return what the form on a page would post, as a browser does."""
    form = html[
        html.index('id="composer"') : html.index("</form>", html.index('id="composer"'))
    ]
    found: dict[str, Any] = {}

    def put(name: str, value: str) -> None:
        text = value.replace("&quot;", '"').replace("&amp;", "&").replace("&#x27;", "'")
        found.setdefault(name, []).append(text)

    for tag in re.finditer(
        r"<input\b[^>]*>|<select\b.*?</select>|<textarea\b.*?</textarea>", form, re.S
    ):
        text = tag[0]
        name = re.search(r'\sname="([^"]+)"', text.split(">")[0])
        if name is None:
            continue
        if text.startswith("<select"):
            value = re.search(r'value="([^"]*)" selected', text) or re.search(
                r'value="([^"]*)"', text
            )
            put(name[1], value[1] if value else "")
        elif text.startswith("<textarea"):
            put(name[1], text[text.index(">") + 1 : text.rindex("<")])
        elif 'type="checkbox"' not in text or " checked" in text:
            value = re.search(r'\svalue="([^"]*)"', text)
            put(name[1], value[1] if value else "on")
    return found


def opened(client: Client, plan: Plan) -> dict[str, Any]:
    """Return the form as the page shows it first."""
    answer = client.get(path(plan))
    assert answer.status_code == 200
    return boxes(answer.content.decode())


def draft(plan: Plan) -> PlanVersion:
    """Return the stored draft."""
    return PlanVersion.objects.get(plan=plan, state="draft")


def figure(html: str, label: str) -> Decimal:
    """Return the exact amount that stands for a label among the sums."""
    found = re.search(rf'<dt[^>]*>{label}.*?value="([^"]+)"', html, re.S)
    assert found is not None, label
    return Decimal(found[1])


def test_opening_and_saving_changes_nothing(ana: Client, plan: Plan) -> None:
    given = opened(ana, plan)
    answer = ana.post(path(plan), {**given, "do": "save"})
    assert answer.status_code == 302
    stored = draft(plan)
    assert stored.body == BODY
    assert stored.limits == {"on_outage": "open"}
    assert stored.revision == 1
