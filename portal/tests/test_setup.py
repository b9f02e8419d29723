"""The first run."""

from __future__ import annotations

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Membership, Role, Tenant, User

GIVEN = {
    "organisation": "Acme Metering",
    "legal_name": "",
    "address": "1 Main St\nSpringfield",
    "currency": "EUR",
    "timezone": "Europe/Madrid",
    "name": "Olga",
    "email": "Olga@Acme.test",
    "password": "a long enough one",
    "start": "clean",
}

pytestmark = pytest.mark.django_db


def test_a_new_installation_leads_to_setup() -> None:
    assert Client().get("/login")["Location"] == "/setup"
    assert Client().get("/setup").status_code == 200


def test_it_makes_the_tenant_and_signs_its_owner_in() -> None:
    browser = Client()
    assert browser.post("/setup", GIVEN)["Location"] == "/"
    made = Tenant.objects.get()
    assert (made.name, made.legal_name) == ("Acme Metering", "Acme Metering")
    assert (made.currency, made.timezone) == ("EUR", "Europe/Madrid")
    member = Membership.objects.get()
    assert (member.role, member.user.email) == (Role.OWNER, "olga@acme.test")
    assert AuditEntry.objects.get().action == "tenant.created"
    assert browser.get("/settings/team").status_code == 200


def test_it_refuses_once_a_tenant_exists(tenant: Tenant) -> None:
    assert Client().get("/setup")["Location"] == "/login"
    assert Client().post("/setup", GIVEN)["Location"] == "/login"
    assert Tenant.objects.count() == 1
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("organisation", ""),
        ("address", " "),
        ("currency", "XXX"),
        ("timezone", "Mars/Base"),
        ("email", "no address"),
        ("password", "short"),
        ("password", "olga@acme.test"),
        ("start", "other"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(field: str, value: str) -> None:
    answer = Client().post("/setup", {**GIVEN, field: value})
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert not Tenant.objects.exists()


def test_an_address_with_an_account_is_refused() -> None:
    User.objects.create_user(email="olga@acme.test", password=None)
    answer = Client().post("/setup", GIVEN)
    assert "has an account already" in answer.content.decode()
