"""Own prices of a contract: seen beside the list, reviewed, set, cleared, audited."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock, ids
from billing import own_prices, subscriptions
from billing.models import SubscriptionSnapshot
from catalog import plans
from metering import pipeline
from portal.tests.composer_kit import boxes
from portal.tests.scene import NOW, Scene, sign_in
from portal.tests.test_plans import text

pytestmark = pytest.mark.django_db
BY_TOOL = {
    "key": "calls",
    "name": "Calls",
    "price": {"model": "dimensions", "tool_invocations": {"search": "1", "*": "2"}},
}
CHEAPER = {"calls": {"price": {"model": "per_unit", "unit_amount": "0.008"}}}


def path(scene: Scene) -> str:
    """Return the address of the contract's own prices."""
    return f"/subscriptions/{scene.subscription.public_id}/prices"


def row_of(form: dict[str, Any], key: str) -> str:
    """Return the name of a charge's row in the form."""
    return next(
        name.removesuffix("-key")
        for name, values in form.items()
        if name.endswith("-key") and values == [key]
    )


def filled(client: Client, scene: Scene, **more: Any) -> dict[str, Any]:
    """Return the form with an own price of calls."""
    form = boxes(client.get(path(scene)).content.decode())
    row = row_of(form, "calls")
    form |= {f"{row}-own": "1", f"{row}-unit_amount": "0.008", "when": "now"}
    return form | {"do": "review", "name": "", **more}


def latest(scene: Scene) -> SubscriptionSnapshot:
    """Return what the contract says last."""
    return scene.subscription.snapshots.order_by("-number")[0]


def reviewed(html: str) -> str:
    """Return the digest of what a page shows to be reviewed."""
    return str(boxes(html)["reviewed"][0])


def test_the_page_shows_what_the_plan_lists(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    page = text(client, path(scene))
    assert "Listed: $0.01 per call" in page
    assert "Listed: $99.00 a month, in advance" in page
    assert "Own: " not in page
    assert "Own prices" in text(client, f"/customers/{scene.customer.public_id}")


@pytest.mark.parametrize("role", [Role.OPERATIONS, Role.VIEWER])
def test_others_may_not(scene: Scene, role: Role) -> None:
    client = sign_in(scene, role)
    assert client.get(path(scene)).status_code == 403
    assert client.post(path(scene), {"do": "apply"}).status_code == 403
    assert path(scene) not in text(client, f"/customers/{scene.customer.public_id}")


def test_a_price_is_reviewed_then_set_after_the_name_is_typed(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    form = filled(client, scene, reason="Agreed in November")
    answer = client.post(path(scene), form)
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "$0.01 per call" in html
    assert "$0.008 per call" in html
    assert "The last full month" in html
    assert latest(scene).number == 1
    form |= {"do": "apply", "reviewed": reviewed(html)}
    wrong = client.post(path(scene), {**form, "name": "somebody"})
    assert wrong.status_code == 422
    assert "is not the customer&#x27;s name" in wrong.content.decode()
    assert latest(scene).number == 1
    done = client.post(path(scene), {**form, "name": scene.customer.name}, follow=True)
    said = done.content.decode()
    assert "has these prices from now on" in said
    assert "own prices</span> for 1 charge" in said
    made = latest(scene)
    assert made.overrides == {"charges": CHEAPER, "currency": "USD"}
    assert NOW <= made.effective_from <= clock.now()
    entry = AuditEntry.objects.get(action="subscription.prices_changed")
    assert entry.changes["calls"] == ["$0.01 per call", "$0.008 per call"]
    assert (entry.actor, entry.reason) == (
        scene.people[Role.PRODUCT_MANAGER],
        "Agreed in November",
    )


def test_what_is_used_then_has_the_own_price_on_every_page(scene: Scene) -> None:
    own_prices.set_prices(
        subscription=scene.subscription,
        charges={"calls": {**CHEAPER["calls"], "name": "Your calls"}},
        at=NOW,
        actor=None,
    )
    event = scene.store({"tool_calls": 10}, at=NOW)
    pipeline.rate()
    client = sign_in(scene, Role.FINANCE)
    page = text(client, f"/events/{ids.public('evt', event.pk)}")
    assert "10 × $0.008 = $0.08" in page
    assert "Your calls" in page
    plan = f"/plans/{scene.version.plan.public_id}?tab=subscriptions"
    assert "own prices for 1 charge" in text(client, plan)
    assert "Own: $0.008 per call" in text(client, path(scene))


def test_own_prices_from_the_next_period_keep_the_one_under_way(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = filled(client, scene, when="next")
    html = client.post(path(scene), form).content.decode()
    form |= {"do": "apply", "reviewed": reviewed(html), "name": scene.customer.name}
    client.post(path(scene), form)
    assert latest(scene).effective_from.isoformat() == "2026-12-01T00:00:00+00:00"
    # What is announced cannot be taken back: the page says so.
    again = client.get(path(scene), follow=True)
    assert "is announced already" in again.content.decode()


def test_an_own_price_is_cleared_by_taking_its_tick_away(scene: Scene) -> None:
    own_prices.set_prices(
        subscription=scene.subscription, charges=CHEAPER, at=NOW, actor=None
    )
    with clock.travel(NOW.replace(hour=13)):
        client = sign_in(scene, Role.FINANCE)
        form = boxes(client.get(path(scene)).content.decode())
        row = row_of(form, "calls")
        assert form.pop(f"{row}-own") == ["1"]
        form |= {"when": "now", "do": "review"}
        html = client.post(path(scene), form).content.decode()
        form |= {"do": "apply", "reviewed": reviewed(html), "name": scene.customer.name}
        client.post(path(scene), form)
    assert latest(scene).overrides == {}
    entry = AuditEntry.objects.filter(action="subscription.prices_changed").first()
    assert entry is not None
    assert entry.changes["calls"] == ["$0.008 per call", "$0.01 per call"]


def test_what_is_wrong_stands_at_its_box_and_nothing_is_lost(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = filled(client, scene)
    row = row_of(form, "calls")
    form |= {f"{row}-unit_amount": "1,5x", f"{row}-bound-minimum": "25"}
    answer = client.post(path(scene), form)
    html = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="{row}-unit_amount-error"' in html
    kept = boxes(html)
    assert kept[f"{row}-unit_amount"] == ["1,5x"]
    assert kept[f"{row}-bound-minimum"] == ["25"]
    form |= {f"{row}-unit_amount": "1", f"{row}-bound-maximum": "10"}
    html = client.post(path(scene), form).content.decode()
    assert f'id="{row}-bound-maximum-error"' in html
    assert latest(scene).number == 1


def test_nothing_to_change_is_said(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = filled(client, scene)
    form[f"{row_of(form, 'calls')}-unit_amount"] = "0.01"
    answer = client.post(path(scene), form)
    assert answer.status_code == 422
    assert "these are the prices in force" in answer.content.decode()


def test_what_was_not_reviewed_is_not_set(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = filled(client, scene)
    html = client.post(path(scene), form).content.decode()
    form |= {"do": "apply", "reviewed": reviewed(html), "name": scene.customer.name}
    form[f"{row_of(form, 'calls')}-unit_amount"] = "0.0001"
    page = client.post(path(scene), form).content.decode()
    assert "This is not what you reviewed" in page
    assert "$0.0001 per call" in page
    assert latest(scene).number == 1


def test_tiers_are_added_and_models_changed_without_scripts(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    form = filled(client, scene)
    row = row_of(form, "calls")
    form |= {f"{row}-model": "graduated", "do": f"show.{row}-model"}
    form = boxes(client.post(path(scene), form).content.decode())
    form |= {"when": "now", "do": f"{row}.tier.add"}
    form = boxes(client.post(path(scene), form).content.decode())
    form |= {
        f"{row}-up_to": ["100", ""],
        f"{row}-unit_amount": ["0.01", "0.005"],
        "when": "now",
        "do": "review",
    }
    html = client.post(path(scene), form).content.decode()
    assert "$0.01 per call up to 100, then $0.005 above" in html
    # A model that would count something else is not among the choices.
    assert (
        'value="flat"'
        not in html[html.index(f'id="{row}-model"') :].split("</select>")[0]
    )


def test_rows_of_a_table_are_added_without_scripts(scene: Scene) -> None:
    saved = plans.save_draft(
        plan=scene.version.plan,
        body={"currency": "USD", "charges": [BY_TOOL]},
        limits={},
        actor=None,
    )
    subscriptions.change_plan(
        subscription=scene.subscription,
        plan_version=plans.publish(version=saved, actor=None),
        at=NOW,
        actor=None,
    )
    client = sign_in(scene, Role.FINANCE)
    form = boxes(client.get(path(scene)).content.decode())
    deed = "c1.rows.tool_invocations.add"
    assert deed in client.get(path(scene)).content.decode()
    answer = client.post(path(scene), {**form, "do": deed}).content.decode()
    before = len(form["c1-tool_invocations-name"])
    assert len(boxes(answer)["c1-tool_invocations-name"]) == before + 1
