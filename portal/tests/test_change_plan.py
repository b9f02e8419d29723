"""A contract gets another plan: now or at the next period, reviewed, confirmed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing import accounts, own_prices, subscriptions
from billing.models import SubscriptionSnapshot as Snapshot
from catalog import plans
from catalog.models import PlanVersion
from portal.tests.scene import NOW, PLAN, Scene, sign_in
from portal.tests.test_admin_contracts import COMMITTED
from portal.tests.test_plans import text
from portal.tests.test_subscribe import another, confirm, move, paid, send
from tests.factories import make_version

pytestmark = pytest.mark.django_db
CHEAPER = {"calls": {"price": {"model": "per_unit", "unit_amount": "0.008"}}}
DECEMBER = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def latest(scene: Scene) -> Snapshot:
    """Return what the contract says last."""
    return scene.subscription.snapshots.order_by("-number")[0]


def test_a_plan_changes_at_the_next_period(scene: Scene) -> None:
    version = another(scene)
    client = sign_in(scene, Role.FINANCE)
    form = {"version": version.public_id, "when": "next"}
    _, page = send(client, move(scene), do="review", **form)
    assert f"Now: {scene.version}" in page
    assert f"Then: {version}" in page
    assert "Nothing is charged or given back at once" in page
    assert "The last full month" in page
    confirm(client, move(scene), **form)
    made = latest(scene)
    assert (made.plan_version, made.effective_from) == (version, DECEMBER)
    entry = AuditEntry.objects.get(action="subscription.plan_changed")
    assert entry.actor == scene.people[Role.FINANCE]
    again = client.get(move(scene), follow=True).content.decode()
    assert "is announced already" in again


def test_a_plan_changes_now_and_gives_days_back(scene: Scene) -> None:
    version = another(scene, "300", prorate=True)
    client = sign_in(scene, Role.OWNER)
    before = len(paid(scene.subscription))
    form = {"version": version.public_id, "when": "now"}
    _, page = send(client, move(scene), do="review", **form)
    # 13 of November's 30 days are left; the old plan does not prorate.
    assert page.count('value="130"') == 2
    confirm(client, move(scene), **form)
    assert paid(scene.subscription)[before:] == [Decimal(130)]
    assert latest(scene).plan_version == version
    assert NOW <= latest(scene).effective_from <= clock.now()
    back = another_version(version)
    with clock.travel(NOW + dt.timedelta(days=5)):
        form["version"] = back.public_id
        _, page = send(client, move(scene), do="review", **form)
        assert "given back" in page
        confirm(client, move(scene), **form)
    assert paid(scene.subscription)[before + 1] == Decimal(-80)


def another_version(version: PlanVersion) -> PlanVersion:
    """Return the next version of the same plan, with the calls again."""
    draft = plans.save_draft(plan=version.plan, body=PLAN, limits={}, actor=None)
    return plans.publish(version=draft, actor=None)


def test_own_prices_that_fit_go_on_and_others_are_named(scene: Scene) -> None:
    charges = {**CHEAPER, "platform": {"discount_percent": "10"}}
    own_prices.set_prices(
        subscription=scene.subscription, charges=charges, at=NOW, actor=None
    )
    version = another(scene)
    with clock.travel(NOW + dt.timedelta(hours=1)):
        client = sign_in(scene, Role.FINANCE)
        form = {"version": version.public_id, "when": "now"}
        _, page = send(client, move(scene), do="review", **form)
        assert "the own price of Tool calls" in page
        assert "the own price of Platform fee" not in page
        confirm(client, move(scene), **form)
    assert list(latest(scene).overrides["charges"]) == ["platform"]


def test_a_plan_that_is_not_sold_in_the_currency_is_refused(
    scene: Scene,
) -> None:
    newcomer = accounts.create_customer(
        tenant=scene.tenant, name="Newcomer", actor=None
    )
    made = subscriptions.subscribe(
        customer=newcomer,
        product=scene.product,
        plan_version=make_version(scene.product, COMMITTED),
        start_at=NOW - dt.timedelta(hours=1),
        currency="EUR",
        actor=None,
    )
    client = sign_in(scene, Role.FINANCE)
    path = f"/subscriptions/{made.public_id}/plan"
    form = {"version": scene.version.public_id, "when": "next", "do": "review"}
    answer, page = send(client, path, **form)
    assert answer.status_code == 422
    assert "is not sold in EUR" in page
    assert 'id="id_version_error"' in page


def test_a_contract_that_ended_or_has_no_other_plan_says_so(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    assert "No other plan" in text(client, move(scene))
    subscriptions.cancel(subscription=scene.subscription, at=NOW, actor=None)
    page = client.get(move(scene), follow=True).content.decode()
    assert "has ended" in page
    assert move(scene) not in page
