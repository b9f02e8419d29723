"""The guard's rules: listed with their hits, saved in shadow, enforced."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role, User
from aforo.lib import clock
from billing import own_limits
from billing.models import SubscriptionSnapshot
from catalog import plans
from catalog.models import PlanVersion
from guard.models import RuleCount
from portal.tests.scene import Scene, sign_in
from portal.tests.test_plans import text

pytestmark = pytest.mark.django_db
RATE = "requests_per_minute"


def rule_of(scene: Scene, name: str = RATE) -> str:
    """Return the address of a rule of the scene's contract."""
    return f"/guard/rules/{scene.subscription.public_id}:{name}"


def latest(scene: Scene) -> SubscriptionSnapshot:
    """Return what the contract says last."""
    return scene.subscription.snapshots.order_by("-number")[0]


def hit(scene: Scene, rule: str, *, days: int = 0, **counts: int) -> None:
    """Count what a rule did to the scene's contract."""
    hour = (clock.now() - dt.timedelta(days=days)).replace(minute=0, second=0)
    RuleCount.objects.create(
        tenant=scene.tenant,
        hour=hour.replace(microsecond=0),
        customer_id=scene.customer.pk,
        subscription_id=scene.subscription.pk,
        rule=rule,
        **counts,
    )


def limit(scene: Scene, actor: User | None = None, **limits: Any) -> None:
    """Let the contract have limits of its own, a second later than what it had."""
    own_limits.set_limits(subscription=scene.subscription, limits=limits, actor=actor)


@pytest.fixture
def later(scene: Scene):
    """A second after everything that the scene made."""
    with clock.travel(clock.now() + dt.timedelta(seconds=1)):
        yield


@pytest.mark.usefixtures("later")
def test_rules_are_listed_with_mode_and_hits(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    assert "No limit is set yet" in client.get("/guard/rules").content.decode()
    limit(scene, requests_per_minute=60, spend_cap="25.00", shadow={RATE: True})
    hit(scene, "requests.subscription.minute", shadowed=40)
    hit(scene, "requests.subscription.minute", days=3, shadowed=1)
    hit(scene, "requests.subscription.minute", days=9, shadowed=500)
    hit(scene, "spend_cap.subscription.period", denied=3)
    shown = text(client, "/guard/rules")
    assert "1 enforced, 1 in shadow" in shown
    assert "would have blocked 41 requests of 1 customer in the last 7 days" in shown
    assert "Requests a minute" in shown
    assert "$25.00" in shown


@pytest.mark.usefixtures("later")
def test_save_as_shadow_then_enforce(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    url = rule_of(scene)
    assert client.get(url).status_code == 200
    saved = client.post(f"{url}/shadow", {"limit": "30", "reason": "a trial"})
    assert saved.status_code == 302
    assert latest(scene).overrides["limits"] == {RATE: 30, "shadow": {RATE: True}}
    hit(scene, "requests.subscription.minute", shadowed=2)
    shown = text(client, url)
    assert "would have blocked 2 requests of 1 customer" in shown
    with clock.travel(clock.now() + dt.timedelta(seconds=1)):
        asked = text(client, f"{url}/enforce")
        assert "calls beyond 30 are refused" in asked
        assert client.post(f"{url}/enforce").status_code == 302
        assert latest(scene).overrides["limits"] == {RATE: 30, "shadow": {RATE: False}}
        assert client.get(f"{url}/enforce").status_code == 404
    entry = AuditEntry.objects.filter(action="subscription.limits_changed")
    assert entry.count() == 2
    assert entry.order_by("pk")[0].reason == "a trial"


@pytest.mark.usefixtures("later")
def test_other_own_terms_are_kept(scene: Scene) -> None:
    limit(scene, tokens_per_minute=900, quotas=QUOTAS, loop={"errors": {"count": 4}})
    client = sign_in(scene, Role.OWNER)
    with clock.travel(clock.now() + dt.timedelta(seconds=1)):
        client.post(f"{rule_of(scene, 'quotas.tokens')}/shadow", {"limit": "7"})
    with clock.travel(clock.now() + dt.timedelta(seconds=2)):
        given = {"limit": "50", "seconds": "60"}
        client.post(f"{rule_of(scene, 'loop.same_call')}/shadow", given)
    assert latest(scene).overrides["limits"] == {
        "tokens_per_minute": 900,
        "quotas": [{**QUOTAS[0], "limit": 7}, QUOTAS[1]],
        "loop": {"errors": {"count": 4}, "same_call": {"count": 50, "seconds": 60}},
        "shadow": {"quotas.tokens": True, "loop.same_call": True},
    }


QUOTAS = [
    {"metric": "tokens", "limit": 5, "on_exceed": "deny"},
    {"metric": "requests", "limit": 6, "on_exceed": "bill"},
]


@pytest.mark.usefixtures("later")
def test_a_plans_rule_is_saved_in_its_draft(scene: Scene) -> None:
    plan = scene.version.plan
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    url = f"/guard/rules/{plan.public_id}:loop.same_call"
    shown = text(client, url)
    assert "50 in 60 s" in shown
    before = PlanVersion.objects.filter(plan=plan).count()
    saved = client.post(f"{url}/shadow", {"limit": "50", "seconds": "60"})
    assert saved.status_code == 302
    draft = plans.newest_version(plan)
    assert draft is not None
    assert draft.state == PlanVersion.State.DRAFT
    assert draft.limits["loop"] == {"same_call": {"count": 50, "seconds": 60}}
    assert draft.limits["shadow"] == {"loop.same_call": True}
    assert PlanVersion.objects.filter(plan=plan).count() == before + 1
    plans.publish(version=draft, actor=None)
    shown = text(client, "/guard/rules")
    assert "Equal tool calls" in shown


@pytest.mark.parametrize(
    ("limit_text", "problem"),
    [
        ("-1", "greater than or equal to 0"),
        ("1.5", "A whole number."),
        ("", "required"),
    ],
)
@pytest.mark.usefixtures("later")
def test_a_limit_that_cannot_be_kept_is_refused_beside_its_field(
    scene: Scene, limit_text: str, problem: str
) -> None:
    client = sign_in(scene, Role.OWNER)
    answer = client.post(f"{rule_of(scene)}/shadow", {"limit": limit_text})
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert latest(scene).overrides.get("limits") is None


@pytest.mark.parametrize("role", [Role.FINANCE, Role.VIEWER])
def test_other_roles_are_refused(scene: Scene, role: Role) -> None:
    client = sign_in(scene, role)
    for path in ("/guard/rules", rule_of(scene), f"{rule_of(scene)}/shadow"):
        assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "rule_id",
    ["nothing", "sub_x:requests_per_minute", "{sub}:unknown", "{sub}:quotas.none", ":"],
)
def test_what_is_no_rule_is_404(scene: Scene, rule_id: str) -> None:
    client = sign_in(scene, Role.OWNER)
    path = rule_id.replace("{sub}", scene.subscription.public_id)
    assert client.get(f"/guard/rules/{path}").status_code == 404


def test_the_developer_of_another_tenant_sees_nothing(
    scene: Scene, as_olga: Client
) -> None:
    assert as_olga.get(rule_of(scene)).status_code in (403, 404)


@pytest.mark.usefixtures("later")
def test_a_customers_cap_is_listed_and_leads_to_its_page(scene: Scene) -> None:
    scene.customer.spend_cap = Decimal(25)
    scene.customer.save(update_fields=["spend_cap"])
    client = sign_in(scene, Role.OWNER)
    assert "Spend cap of the customer" in client.get("/guard/rules").content.decode()
    url = f"/guard/rules/{scene.customer.public_id}:customer_cap"
    assert client.get(url).status_code == 200
    assert client.get(f"{url}/shadow").status_code == 404
