"""Plans: the list, a plan's versions and tabs, new versions, retirement."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock
from billing import renewals
from catalog import plans, products
from catalog.models import PlanVersion, ProductType
from portal.tests.scene import PLAN, Scene, sign_in
from tests.factories import make_shop

pytestmark = pytest.mark.django_db


def path(scene: Scene, rest: str = "") -> str:
    """Return the address of the scene's plan."""
    return f"/plans/{scene.version.plan.public_id}{rest}"


def draft(scene: Scene, price: str = "0.02") -> PlanVersion:
    """Save a draft with another price of tool calls."""
    body = {
        **PLAN,
        "charges": [
            *PLAN["charges"][:3],
            {
                **PLAN["charges"][3],
                "price": {"model": "per_unit", "unit_amount": price},
            },
        ],
    }
    return plans.save_draft(
        plan=scene.version.plan, body=body, limits={}, actor=scene.shop.owner
    )


def text(client: Client, url: str) -> str:
    """Return a page's text without tags."""
    answer = client.get(url)
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_the_list_shows_versions_subscriptions_and_the_period_under_way(
    scene: Scene,
) -> None:
    draft(scene)
    client = sign_in(scene, Role.VIEWER)
    page = text(client, "/plans")
    assert scene.version.plan.name in page
    assert scene.product.name in page
    assert "Live v1" in page
    assert "Draft v2" in page
    # $99.00 fee and the usage of November.
    total = scene.customer.usage_totals.get(period__start_at__month=11)
    revenue = total.spend + total.recurring
    assert f"${revenue:.2f}" in page
    assert f"{total.cost_unknown_count} unknown" in page


def test_the_list_takes_a_fixed_number_of_statements(
    scene: Scene, django_assert_max_num_queries
) -> None:
    client = sign_in(scene, Role.VIEWER)
    client.get("/plans")
    for number in range(5):
        plans.create_plan(
            product=scene.product, name=f"More {number}", code=f"m{number}", actor=None
        )
    with django_assert_max_num_queries(18):
        assert client.get("/plans").status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=plan", True),
        ("q=nothing", False),
        ("draft=true", False),
        ("draft=false", True),
    ],
)
def test_the_list_is_filtered(scene: Scene, query: str, found: bool) -> None:
    page = text(sign_in(scene, Role.VIEWER), f"/plans?{query}")
    assert (scene.version.plan.code in page) is found
    assert ("No plan matches" in page) is not found


def test_the_list_is_filtered_by_product(scene: Scene) -> None:
    other = products.create_product(
        tenant=scene.tenant,
        name="Other",
        code="other",
        type=ProductType.MCP_SERVER,
        actor=None,
    )
    client = sign_in(scene, Role.VIEWER)
    assert "No plan matches" in text(client, f"/plans?product={other.pk}")
    assert scene.version.plan.code in text(client, f"/plans?product={scene.product.pk}")
    assert client.get("/plans?product=nonsense").status_code == 200


def test_without_plans_the_models_are_shown(as_olga: Client, as_victor: Client) -> None:
    page = as_olga.get("/plans").content.decode()
    assert "2.5 % of inference cost" in page
    assert "/plans/new" in page
    seen = as_victor.get("/plans").content.decode()
    assert "/plans/new" not in seen
    assert "An owner or product manager makes plans" in seen


def test_the_page_of_a_plan_says_what_every_charge_costs(scene: Scene) -> None:
    page = text(sign_in(scene, Role.FINANCE), path(scene))
    assert "v1 live" in page
    assert "Platform fee: $99.00 a month, in advance." in page
    assert "up to 10,000 tokens $3.00 per 1M tokens" in page
    assert "above 10,000 tokens $2.50 per 1M tokens" in page
    assert "Counts the sum of tool_calls" in page
    assert "1 subscription" in page
    assert "Publish…" not in page
    assert "Retire…" not in page


def test_live_and_draft_are_compared(scene: Scene) -> None:
    draft(scene)
    page = text(sign_in(scene, Role.PRODUCT_MANAGER), path(scene))
    assert "v1 → v2 (draft)" in page
    assert "Tool calls Price $0.01 per call $0.02 per call" in page
    assert "100.0 %" in page
    assert "3 charges unchanged" in page
    assert f"saved 18 Nov 2026, 12:00 by {scene.shop.owner}" in page
    assert (
        f"{path(scene)}/edit"
        in sign_in(scene, Role.OWNER).get(path(scene)).content.decode()
    )


def test_any_version_can_be_looked_at(scene: Scene) -> None:
    second = plans.publish(version=draft(scene), actor=scene.shop.owner)
    client = sign_in(scene, Role.VIEWER)
    page = text(client, path(scene, "?version=1"))
    assert "v1 Kept" in page
    assert "this one is kept for its subscribers" in page
    assert "$0.01 per call" in page
    assert "v1 → v2" in text(client, path(scene))
    assert f"v{second.number} live" in page
    for wrong in ("3", "x", "-1"):
        assert client.get(path(scene, f"?version={wrong}")).status_code == 404


def test_an_incomplete_draft_says_what_is_missing(scene: Scene) -> None:
    plans.save_draft(
        plan=scene.version.plan,
        body={"currency": "USD", "charges": [{"key": "a"}]},
        limits={},
        actor=None,
    )
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    page = text(client, path(scene, "?version=2"))
    assert "This draft cannot be published yet" in page
    assert "charges[0]" in page
    assert "cannot be compared yet" in text(client, path(scene))


def test_a_plan_without_a_version(scene: Scene) -> None:
    bare = plans.create_plan(product=scene.product, name="Bare", code="b", actor=None)
    url = f"/plans/{bare.public_id}"
    for tab in ("prices", "subscriptions", "audit"):
        assert sign_in(scene, Role.VIEWER).get(f"{url}?tab={tab}").status_code == 200
    assert "An owner or product manager writes" in text(
        sign_in(scene, Role.VIEWER), url
    )
    assert f"{url}/edit" in sign_in(scene, Role.OWNER).get(url).content.decode()


def test_limits_are_shown(scene: Scene) -> None:
    plans.save_draft(
        plan=scene.version.plan,
        body=PLAN,
        limits={"requests_per_minute": 600, "spend_cap": "25.00"},
        prorate=True,
        actor=None,
    )
    page = text(sign_in(scene, Role.VIEWER), path(scene, "?version=2"))
    assert "Requests a minute 600" in page
    assert "Spend cap a period $25.00" in page
    assert "by the days in force" in page


def test_subscriptions_show_version_figures_and_what_comes(scene: Scene) -> None:
    second = plans.publish(version=draft(scene), actor=scene.shop.owner)
    renewals.change_at_renewal(
        subscription=scene.subscription, plan_version=second, actor=None
    )
    client = sign_in(scene, Role.VIEWER)
    page = text(client, path(scene, "?tab=subscriptions"))
    assert scene.customer.name in page
    assert f"{second} on 1 Dec 2026" in page
    assert "1 more at renewal" in page
    only = text(client, path(scene, "?tab=subscriptions&version=2"))
    assert "on v2 alone" in only
    assert "No subscription" in only


def test_the_audit_of_a_plan_has_its_versions(scene: Scene) -> None:
    draft(scene)
    page = text(sign_in(scene, Role.VIEWER), path(scene, "?tab=audit"))
    assert "plan.created" in page
    assert "plan.published" in page
    assert "plan.draft_saved" in page


def test_a_new_version_begins_with_a_published_one(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    answer = client.post(path(scene, "/versions/1/new"))
    assert (answer.status_code, answer["Location"]) == (302, path(scene, "/edit"))
    made = PlanVersion.objects.get(plan=scene.version.plan, number=2)
    assert (made.state, made.body) == ("draft", scene.version.body)
    again = client.post(path(scene, "/versions/1/new"), follow=True)
    assert "has the draft v2" in again.content.decode()
    assert client.get(path(scene, "/versions/1/new")).status_code == 405


def test_a_version_is_retired_after_a_question(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    asked = text(client, path(scene, "/versions/1/retire"))
    assert "1 subscription keeps it" in asked
    done = client.post(path(scene, "/versions/1/retire"), follow=True)
    assert "is retired; its subscribers keep it" in done.content.decode()
    assert "Nobody can subscribe to a retired version" in done.content.decode()
    assert AuditEntry.objects.filter(action="plan.retired").count() == 1
    again = client.post(path(scene, "/versions/1/retire"), follow=True)
    assert "is retired." in again.content.decode()
    assert "Retired" in text(client, "/plans")


@pytest.mark.parametrize("role", [Role.FINANCE, Role.OPERATIONS, Role.VIEWER])
@pytest.mark.parametrize(
    "rest", ["/publish", "/import", "/versions/1/retire", "/versions/1/new"]
)
def test_who_may_not_price_is_told_so(scene: Scene, role: Role, rest: str) -> None:
    answer = sign_in(scene, role).post(path(scene, rest))
    assert answer.status_code == 403
    assert "Product manager" in answer.content.decode()
    assert not PlanVersion.objects.exclude(state="published").exists()


def test_a_developer_sees_no_plan(scene: Scene) -> None:
    client = sign_in(scene, Role.DEVELOPER)
    for rest in ("", "/impact", "/versions/1.json"):
        assert client.get(path(scene, rest)).status_code == 403


def test_another_tenants_plan_is_absent(scene: Scene) -> None:
    with clock.travel(clock.now()):
        other = make_shop().version.plan.public_id
    client = sign_in(scene, Role.OWNER)
    for rest in ("", "/publish", "/impact", "/impact.csv", "/import"):
        assert client.get(f"/plans/{other}{rest}").status_code == 404, rest
    for rest in ("1.json", "1/retire"):
        assert client.get(f"/plans/{other}/versions/{rest}").status_code == 404
    assert client.post(f"/plans/{other}/versions/1/new").status_code == 404
    for rest in ("9.json", "9/retire"):
        assert client.get(path(scene, f"/versions/{rest}")).status_code == 404


def test_search_finds_a_plan(scene: Scene) -> None:
    plan = scene.version.plan
    client = sign_in(scene, Role.VIEWER)
    for asked in (plan.name, plan.code, plan.public_id):
        found = client.get(f"/search?q={asked}").content.decode()
        assert f"/plans/{plan.public_id}" in found
    assert "/plans" in client.get("/search?q=plans").content.decode()
