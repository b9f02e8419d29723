"""Customers: the list, one of them, and the deeds on them."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aforo.core.models import AuditEntry, Role
from aforo.lib import crypto
from billing import accounts
from billing.models import Agent, Credential, Customer, Wallet
from metering.models import UsageRollup
from portal.selectors import customers, figures
from portal.tests.scene import NOW, Scene, make_scene, sign_in

pytestmark = pytest.mark.django_db


def add_customers(scene: Scene, count: int) -> list[Customer]:
    """Return more customers of the seller, without usage."""
    return [
        accounts.create_customer(
            tenant=scene.tenant, name=f"Quiet {n:02}", segment="startup", actor=None
        )
        for n in range(count)
    ]


def test_the_list_shows_the_months_figures(scene: Scene) -> None:
    page = sign_in(scene, Role.VIEWER).get("/customers").content.decode()
    span = figures.month_to_date(NOW)
    row = customers.rows([scene.customer], span)[0]
    assert scene.customer.name in page
    assert f'value="{row.figures.revenue.normalize():f}"' in page
    assert 'aria-sort="descending"' in page
    assert str(scene.version) in page


@pytest.mark.parametrize(
    "key", ["name", "revenue", "cost", "margin", "wallet", "last_event"]
)
def test_every_column_sorts_both_ways(scene: Scene, key: str) -> None:
    add_customers(scene, 3)
    client = sign_in(scene, Role.VIEWER)
    names = []
    for sign in ("", "-"):
        page = client.get("/customers", {"sort": f"{sign}{key}"})
        names.append([row.customer.name for row in page.context["rows"]])
    assert names[0] == names[1][::-1]
    assert len(names[0]) == 4


def test_filters_are_in_the_address_and_two_empty_states_differ(scene: Scene) -> None:
    add_customers(scene, 1)
    client = sign_in(scene, Role.VIEWER)
    found = client.get("/customers", {"q": "quiet", "segment": "startup"})
    assert [r.customer.name for r in found.context["rows"]] == ["Quiet 00"]
    by_plan = client.get("/customers", {"plan": scene.version.plan.pk})
    assert [r.customer for r in by_plan.context["rows"]] == [scene.customer]
    none = client.get("/customers", {"q": "nobody"}).content.decode()
    assert "No customer matches" in none
    assert "Clear filters" in none
    assert "No customers yet" not in none


def test_the_csv_holds_exactly_the_filtered_rows(scene: Scene) -> None:
    add_customers(scene, 3)
    client = sign_in(scene, Role.VIEWER)
    text = client.get("/customers.csv", {"q": "quiet", "sort": "-name"}).content
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [r["name"] for r in rows] == ["Quiet 02", "Quiet 01", "Quiet 00"]
    whole = client.get("/customers.csv").content.decode()
    mine = next(
        r
        for r in csv.DictReader(io.StringIO(whole))
        if r["customer_id"] == scene.customer.public_id
    )
    span = figures.month_to_date(NOW)
    expected = customers.rows([scene.customer], span)[0].figures
    assert Decimal(mine["revenue_mtd"]) == expected.revenue
    assert mine["events_without_cost"] == "1"


def test_the_list_takes_a_fixed_number_of_statements(scene: Scene) -> None:
    client = sign_in(scene, Role.VIEWER)
    client.get("/customers")
    with CaptureQueriesContext(connection) as few:
        client.get("/customers")
    add_customers(scene, 10)
    with CaptureQueriesContext(connection) as many:
        client.get("/customers")
    assert len(many) == len(few) <= 24


@pytest.mark.parametrize(
    "tab", ["overview", "wallet", "invoices", "sessions", "activity", "nonsense"]
)
def test_every_tab_opens_for_a_viewer_without_a_deed_to_do(
    scene: Scene, tab: str
) -> None:
    page = sign_in(scene, Role.VIEWER).get(scene.path, {"tab": tab})
    text = page.content.decode()
    assert page.status_code == 200
    for deed in ("top-up", "suspend", "spend-cap", "rotate", "revoke", "pause"):
        assert f"/{deed}" not in text


def test_a_sum_that_differs_from_the_ledger_is_said(scene: Scene) -> None:
    rollup = UsageRollup.objects.filter(customer=scene.customer).latest("hour")
    rollup.revenue += 1
    rollup.save()
    page = sign_in(scene, Role.VIEWER).get(scene.path).content.decode()
    assert "Ledger differs" in page


def test_a_customer_of_another_tenant_is_as_absent_as_none(scene: Scene) -> None:
    other = make_scene()
    client = sign_in(scene, Role.OWNER)
    assert client.get(other.path).status_code == 404
    assert client.get("/customers/cus_zzz").status_code == 404
    assert client.post(f"{other.path}/suspend").status_code == 404


def test_finance_tops_up_and_others_may_not(scene: Scene) -> None:
    path = f"{scene.path}/top-up"
    given = {"amount": "25.50", "title": "March credit", "reason": "paid by wire"}
    refused = sign_in(scene, Role.OPERATIONS).post(path, given)
    assert refused.status_code == 403
    before = Wallet.objects.get(customer=scene.customer).balance
    done = sign_in(scene, Role.FINANCE).post(path, given, follow=True)
    assert "$25.50 added to the wallet" in done.content.decode()
    after = Wallet.objects.get(customer=scene.customer).balance
    assert after - before == Decimal("25.50")
    assert AuditEntry.objects.filter(reason="paid by wire").exists()


@pytest.mark.parametrize("amount", ["0", "-5", "", "many", "0.0000000000001", "1e30"])
def test_an_amount_that_is_none_is_refused_next_to_its_field(
    scene: Scene, amount: str
) -> None:
    client = sign_in(scene, Role.FINANCE)
    answer = client.post(f"{scene.path}/top-up", {"amount": amount, "title": "x"})
    assert answer.status_code == 422
    assert "id_amount_error" in answer.content.decode()


def test_a_customer_is_suspended_and_reactivated_with_confirmation(
    scene: Scene,
) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    asked = client.get(f"{scene.path}/suspend").content.decode()
    assert "refused from the next call on" in asked
    assert Customer.objects.get(pk=scene.customer.pk).state == "active"
    client.post(f"{scene.path}/suspend", {"reason": "fraud"})
    assert Customer.objects.get(pk=scene.customer.pk).state == "suspended"
    again = client.post(f"{scene.path}/suspend", {})
    assert again.status_code == 422
    client.post(f"{scene.path}/reactivate", {})
    assert Customer.objects.get(pk=scene.customer.pk).state == "active"


def test_the_spend_cap_is_set_and_taken_off(scene: Scene) -> None:
    client = sign_in(scene, Role.FINANCE)
    client.post(f"{scene.path}/spend-cap", {"amount": "1000"})
    assert Customer.objects.get(pk=scene.customer.pk).spend_cap == 1000
    client.post(f"{scene.path}/spend-cap", {"amount": ""})
    assert Customer.objects.get(pk=scene.customer.pk).spend_cap is None


def test_an_agent_is_paused_and_resumed(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    path = f"/agents/{scene.agent.public_id}"
    client.post(f"{path}/pause", {})
    assert Agent.objects.get(pk=scene.agent.pk).state == "paused"
    client.post(f"{path}/resume", {})
    assert Agent.objects.get(pk=scene.agent.pk).state == "active"
    assert sign_in(scene, Role.FINANCE).post(f"{path}/pause").status_code == 403


def test_a_rotated_secret_is_shown_once_and_never_again(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    old = scene.shop.credential
    path = f"/credentials/{old.public_id}/rotate"
    shown = client.post(path, {"overlap": "24h"}, follow=True).content.decode()
    made = Credential.objects.get(replaces=old)
    secret = shown.split("sk_live_")[1].split("<")[0]
    assert crypto.hash_key(f"sk_live_{secret}") == made.digest
    assert Credential.objects.get(pk=old.pk).is_live
    for page in ("/credentials/secret", f"{scene.path}/hierarchy", f"{scene.path}"):
        assert secret not in client.get(page, follow=True).content.decode()
    assert secret not in str(dict(client.session))
    # A second look leads back to whose secret it was, and says why it is not there.
    again = client.get("/credentials/secret")
    home = f"{scene.path}/hierarchy#{made.agent.public_id}"
    assert again.headers["Location"] == home
    assert "A secret is shown once" in client.get(home).content.decode()


def test_a_look_for_a_secret_that_was_never_made_leads_to_the_customers(
    scene: Scene,
) -> None:
    answer = sign_in(scene, Role.OPERATIONS).get("/credentials/secret")
    assert answer.headers["Location"] == "/customers"


def test_a_revoked_credential_ends_at_once(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    path = f"/credentials/{scene.shop.credential.public_id}/revoke"
    client.post(path, {"reason": "leaked"})
    assert not Credential.objects.get(pk=scene.shop.credential.pk).is_live
    keys = client.get(f"{scene.path}/hierarchy").content.decode()
    assert "Revoked" in keys


def test_a_new_credential_reaches_the_products_that_were_ticked(scene: Scene) -> None:
    client = sign_in(scene, Role.OPERATIONS)
    client.post(
        f"/agents/{scene.agent.public_id}/credentials",
        {"name": "spare", "products": [scene.product.pk]},
    )
    made = Credential.objects.get(name="spare")
    assert made.product_ids == [scene.product.pk]
