"""The back office: every model, roles instead of Django's flags, deeds by functions."""

from __future__ import annotations

import json
import re

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from aforo.core.models import AuditEntry, Membership, Role, ServiceKey, Tenant, User
from billing import accounts
from billing.models import (
    Agent,
    Credential,
    Customer,
    CustomerBooks,
    FormerFacets,
    Subscription,
)
from catalog.models import CostRate, Plan, PlanVersion, Product
from metering import pipeline
from metering.models import Unrateable
from portal.admin import site
from portal.tests.scene import Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db

OURS = ("core", "catalog", "billing", "guard", "metering")


def changelists() -> list[str]:
    """Return the address name of every registered model's list."""
    return sorted(f"{m._meta.app_label}_{m._meta.model_name}" for m in site._registry)


def test_every_model_of_every_app_is_registered() -> None:
    models = {m for label in OURS for m in apps.get_app_config(label).get_models()}
    assert models - set(site._registry) == set()


def test_the_owner_opens_every_list_and_its_first_row(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    found = {}
    for name in changelists():
        page = client.get(reverse(f"admin:{name}_changelist"))
        searched = client.get(reverse(f"admin:{name}_changelist"), {"q": "x' OR 1"})
        found[name] = [page.status_code, searched.status_code]
        row = apps.get_model(name.replace("_", ".", 1))._default_manager.first()
        if row is not None:
            shown = client.get(reverse(f"admin:{name}_change", args=[row.pk]))
            found[name].append(shown.status_code)
    assert {n: codes for n, codes in found.items() if set(codes) != {200}} == {}


ADDABLE = [
    "billing_agent",
    "billing_agentgrant",
    "billing_credential",
    "billing_creditgrant",
    "billing_customer",
    "billing_subscription",
    "billing_team",
    "catalog_costrate",
    "catalog_metric",
    "catalog_plan",
    "catalog_planversion",
    "catalog_product",
    "catalog_tool",
    "core_fxrate",
    "core_servicekey",
]


def test_the_owner_adds_only_what_may_be_added(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    codes = {
        n: client.get(reverse(f"admin:{n}_add")).status_code for n in changelists()
    }
    assert [n for n, code in codes.items() if code == 200] == ADDABLE
    assert set(codes.values()) == {200, 403}


def test_a_viewer_sees_every_list_and_adds_nothing(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    seen = []
    for name in changelists():
        page = client.get(reverse(f"admin:{name}_changelist"))
        added = client.get(reverse(f"admin:{name}_add"))
        if page.status_code == 200 and b"/add/" not in page.content:
            seen.append((name, added.status_code))
    assert seen == [(name, 403) for name in changelists()]


def test_a_developer_gets_403_and_a_stranger_our_sign_in(scene: Scene) -> None:
    page = sign_in(scene, Role.DEVELOPER).get("/admin/", follow=True)
    assert page.status_code == 403
    answer = Client().get("/admin/billing/customer/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/login?next=")
    assert answer.status_code == 200


def test_djangos_own_flags_open_nothing(scene: Scene) -> None:
    outsider = User.objects.create_user(
        email="root@elsewhere.test", password=None, is_staff=True, is_superuser=True
    )
    client = Client(raise_request_exception=False)
    client.force_login(outsider)
    assert client.get("/admin/", follow=True).status_code == 403


def test_rows_of_another_tenant_are_not_there(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    page = client.get(reverse("admin:billing_customer_changelist"))
    assert scene.customer.name.encode() in page.content
    assert other.customer.name.encode() not in page.content
    theirs = reverse("admin:billing_customer_change", args=[other.customer.pk])
    assert client.get(theirs).status_code == 302  # Django's "perhaps it was deleted"
    people = client.get(reverse("admin:core_user_changelist"))
    assert other.people[Role.OWNER].email.encode() not in people.content


def test_the_books_take_no_change_even_from_the_owner(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    entry = scene.ledger().first()
    assert entry is not None
    url = reverse("admin:billing_ledgerentry_change", args=[entry.pk])
    assert client.post(url, {"amount": "1"}).status_code == 403
    gone = reverse("admin:billing_ledgerentry_delete", args=[entry.pk])
    assert client.post(gone, {"post": "yes"}).status_code == 403


def test_adding_a_customer_makes_its_books_and_says_so(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    answer = client.post(
        reverse("admin:billing_customer_add"),
        {"name": "New Co", "currency": "EUR", "timezone": "Europe/Madrid"}
        | _empty_inlines("teams", "agents", "subscriptions", "wallets"),
    )
    assert answer.status_code == 302, answer.content
    made = Customer.objects.get(name="New Co")
    assert CustomerBooks.objects.filter(customer=made).exists()
    entry = AuditEntry.objects.get(action="customer.created", object_id=made.public_id)
    assert entry.actor == scene.people[Role.FINANCE]


def _empty_inlines(*prefixes: str) -> dict[str, str]:
    """Return the management forms of inlines without rows."""
    return {
        f"{prefix}-{name}_FORMS": "0"
        for prefix in prefixes
        for name in ("TOTAL", "INITIAL")
    }


def test_an_agent_is_moved_and_keeps_what_it_was(scene: Scene) -> None:
    agent = scene.agent
    other = accounts.create_team(customer=scene.customer, name="Lab", actor=None)
    client = sign_in(scene, Role.OPERATIONS)
    url = reverse("admin:billing_agent_change", args=[agent.pk])
    given = {"name": agent.name, "agent_type": "GPT", "tier": "gold"}
    moved = given | {"team": other.pk} | _empty_inlines("credentials")
    assert client.post(url, moved).status_code == 302
    agent.refresh_from_db()
    assert (agent.team, agent.tier) == (other, "gold")
    former = FormerFacets.objects.get(subject_id=agent.pk)
    assert (former.team, former.tier) == (scene.shop.team, "")
    assert AuditEntry.objects.filter(action="agent.changed").exists()
    rival = accounts.create_customer(tenant=scene.tenant, name="Rival", actor=None)
    theirs = accounts.create_team(customer=rival, name="Theirs", actor=None)
    refused = client.post(url, moved | {"team": theirs.pk})
    assert b"a team of another customer" in refused.content


def test_a_refusal_is_shown_in_the_form_and_keeps_what_was_typed(scene: Scene) -> None:
    client = sign_in(scene, Role.OWNER)
    answer = client.post(
        reverse("admin:catalog_product_add"),
        {"name": "Again", "code": scene.product.code, "type": "MCP_SERVER"}
        | _empty_inlines("plans", "tools"),
    )
    assert answer.status_code == 200
    assert b"errorlist" in answer.content
    assert b'value="Again"' in answer.content


def test_a_plan_goes_from_draft_to_published_to_subscribed(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    client.post(
        reverse("admin:catalog_plan_add"),
        {"product": scene.product.pk, "name": "Scale", "code": "scale"}
        | _empty_inlines("versions"),
    )
    plan = Plan.objects.get(code="scale")
    price = {"model": "flat", "amount": "10", "due": "advance"}
    charges = [{"key": "fee", "name": "Fee", "price": price}]
    body = json.dumps({"currency": "USD", "charges": charges})
    client.post(
        reverse("admin:catalog_planversion_add"),
        {"plan": plan.pk, "body": body, "limits": "{}"},
    )
    draft = PlanVersion.objects.get(plan=plan)
    listed = reverse("admin:catalog_planversion_changelist")
    chosen = {"action": "publish", "_selected_action": [str(draft.pk)]}
    asked = client.post(listed, chosen)
    assert b"never changes" in asked.content
    assert PlanVersion.objects.get(pk=draft.pk).state == "draft"
    client.post(listed, chosen | {"confirmed": "yes"})
    assert PlanVersion.objects.get(pk=draft.pk).state == "published"
    change = reverse("admin:billing_subscription_change", args=[scene.subscription.pk])
    answer = client.post(
        change,
        {"plan_version": draft.pk, "effective_at": ""} | _empty_inlines("snapshots"),
    )
    assert answer.status_code == 302, answer.content
    history = Subscription.objects.get(pk=scene.subscription.pk).snapshots
    assert history.count() == 2


def test_a_new_version_starts_with_an_example_that_can_be_kept(scene: Scene) -> None:
    client = sign_in(scene, Role.PRODUCT_MANAGER)
    add = reverse("admin:catalog_planversion_add")
    body = str(client.get(add).context["adminform"].form["body"].value())
    assert body.count("\n") > 5, "one line is not for people"
    client.post(
        reverse("admin:catalog_plan_add"),
        {"product": scene.product.pk, "name": "Scale", "code": "scale"}
        | _empty_inlines("versions"),
    )
    plan = Plan.objects.get(code="scale")
    answer = client.post(add, {"plan": plan.pk, "body": body, "limits": "{}"})
    assert answer.status_code == 302, answer.content
    assert PlanVersion.objects.get(plan=plan).body["charges"][0]["key"] == "input"


def test_only_the_roles_of_an_action_may_take_it(scene: Scene) -> None:
    listed = reverse("admin:billing_agent_changelist")
    chosen = {
        "action": "pause",
        "_selected_action": [str(scene.agent.pk)],
        "confirmed": "yes",
    }
    sign_in(scene, Role.FINANCE).post(listed, chosen)
    assert Agent.objects.get(pk=scene.agent.pk).state == "active"
    sign_in(scene, Role.OPERATIONS).post(listed, chosen)
    assert Agent.objects.get(pk=scene.agent.pk).state == "paused"


def test_a_new_credential_shows_its_secret_once(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    before = set(Credential.objects.values_list("pk", flat=True))
    answer = client.post(
        reverse("admin:billing_credential_add"),
        {"agent": scene.agent.pk, "name": "spare"},
        follow=True,
    )
    made = Credential.objects.exclude(pk__in=before).get()
    whole = re.compile(rb"sk_live_\w")  # A hint has an ellipsis there.
    assert whole.search(answer.content)
    again = client.get(reverse("credential-secret"), follow=True)
    assert made.hint.encode() in again.content
    assert not whole.search(again.content)


def test_a_cost_rate_is_added_for_the_tenant(scene: Scene) -> None:
    answer = sign_in(scene, Role.FINANCE).post(
        reverse("admin:catalog_costrate_add"),
        {
            "provider": "tool",
            "model": "send_mail",
            "unit": "tool.call",
            "amount": "0.002",
            "currency": "USD",
            "valid_from": "2026-01-01T00:00:00",
        },
    )
    assert answer.status_code == 302, answer.content
    assert CostRate.objects.get(model="send_mail").tenant == scene.tenant


def test_unrateable_events_are_replayed_after_a_fix(scene: Scene) -> None:
    scene.store({"strange_units": 3})
    pipeline.rate()
    row = Unrateable.objects.get(customer=scene.customer)
    scene.define_metric("strange_units")
    sign_in(scene, Role.OPERATIONS).post(
        reverse("admin:metering_unrateable_changelist"),
        {
            "action": "replay",
            "_selected_action": [str(row.pk)],
            "confirmed": "yes",
        },
    )
    assert Unrateable.objects.get(pk=row.pk).resolved_at is not None


def test_the_index_shows_what_needs_somebody(scene: Scene) -> None:
    scene.store({"strange_units": 3})
    pipeline.rate()
    page = sign_in(scene, Role.OWNER).get("/admin/")
    assert b"1 event without a price" in page.content


def test_the_history_of_a_row_is_its_audit(scene: Scene) -> None:
    url = reverse("admin:billing_customer_history", args=[scene.customer.pk])
    answer = sign_in(scene, Role.OWNER).get(url)
    assert answer["Location"] == f"/audit?object={scene.customer.public_id}"


def test_a_tenant_has_members_of_every_role(scene: Scene) -> None:
    roles = set(
        Membership.objects.filter(tenant=scene.tenant).values_list("role", flat=True)
    )
    assert roles == set(Role.values)
    assert isinstance(scene.tenant, Tenant)
    assert isinstance(scene.product, Product)


@pytest.mark.parametrize(
    ("role", "status"), [(Role.OWNER, 302), (Role.OPERATIONS, 200)]
)
def test_a_key_that_changes_prices_is_made_by_an_owner(
    scene: Scene, role: Role, status: int
) -> None:
    answer = sign_in(scene, role).post(
        reverse("admin:core_servicekey_add"),
        {"name": "deploy", "scopes": ["catalog:read", "catalog:write"]},
    )
    assert answer.status_code == status
    made = ServiceKey.objects.filter(name="deploy").exists()
    assert made == (status == 302)
    assert made or "Only an owner" in answer.content.decode()
