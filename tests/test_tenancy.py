"""Tenants see their own rows only, whatever a query says."""

from __future__ import annotations

import uuid

import pytest
from django.apps import apps
from django.db import IntegrityError, ProgrammingError, connection, transaction

from aforo.core import tenancy
from aforo.core.invariants import append_only
from aforo.core.invariants import tenancy as confined
from aforo.core.models import Membership, Role, Tenant
from billing import accounts
from billing.models import Customer, LedgerEntry, Team
from tests.factories import make_shop, make_tenant, make_user

pytestmark = pytest.mark.django_db


def test_every_table_with_a_tenant_is_confined() -> None:
    assert list(confined()) == []
    assert list(append_only()) == []


def test_every_tenant_owned_model_has_a_tenant_that_is_never_null() -> None:
    without = []
    for model in apps.get_models():
        if not model.__module__.startswith(
            ("aforo", "catalog", "billing", "guard", "metering")
        ):
            continue
        fields = {f.name: f for f in model._meta.local_fields}
        if "tenant" not in fields or fields["tenant"].null:
            without.append(model.__name__)
    # Users belong to no tenant, library prices and what became of their changes to
    # all, job slots to the product.
    assert sorted(without) == [
        "CostChange",
        "CostRate",
        "JobSlot",
        "Tenant",
        "User",
    ]


def test_a_tenant_sees_nothing_of_another() -> None:
    mine, other = make_shop(), make_shop()
    with tenancy.as_web(tenant_id=mine.tenant.id):
        assert [c.id for c in Customer.objects.all()] == [mine.customer.id]
        assert not Customer.objects.filter(pk=other.customer.pk).exists()
        assert [t.id for t in Tenant.objects.all()] == [mine.tenant.id]
        assert set(LedgerEntry.objects.values_list("tenant_id", flat=True)) <= {
            mine.tenant.id
        }


def test_without_a_tenant_nothing_is_seen() -> None:
    make_shop()
    with tenancy.as_web(tenant_id=None):
        assert not Customer.objects.exists()
        assert not Tenant.objects.exists()


def test_a_row_of_another_tenant_cannot_be_written() -> None:
    mine, other = make_tenant(), make_tenant()
    with (
        tenancy.as_web(tenant_id=mine.id),
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction.atomic(),
    ):
        Customer.objects.create(tenant=other, name="Smuggled", currency="USD")


def test_a_link_across_tenants_cannot_exist() -> None:
    mine, other = make_shop(), make_shop()
    with pytest.raises(IntegrityError, match="same_tenant"), transaction.atomic():
        Team.objects.create(
            tenant=mine.tenant, customer=other.customer, name="Smuggled"
        )


def test_a_person_sees_the_tenants_of_their_memberships() -> None:
    mine, other = make_tenant(), make_tenant()
    user = make_user()
    for tenant in (mine, other):
        Membership.objects.create(tenant=tenant, user=user, role=Role.VIEWER)
    make_tenant()
    with tenancy.as_web(tenant_id=None, user_id=user.id):
        assert set(Tenant.objects.all()) == {mine, other}
        assert Membership.objects.count() == 2


def test_the_role_ends_with_the_block() -> None:
    def role() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            return str(cursor.fetchone()[0])

    before = role()
    with tenancy.as_web(tenant_id=uuid.uuid4()):
        assert role() == "aforo_web"
    assert role() == before


def test_the_login_is_no_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE rolsuper AND (rolname = current_user"
            " OR rolname LIKE 'aforo%')"
        )
        assert cursor.fetchall() == []


def test_a_developer_belongs_to_a_customer_and_staff_do_not() -> None:
    shop = make_shop()
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(
            tenant=shop.tenant, user=make_user(), role=Role.DEVELOPER
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(
            tenant=shop.tenant,
            user=make_user(),
            role=Role.FINANCE,
            customer_id=shop.customer.id,
        )


def test_two_tenants_may_use_the_same_names() -> None:
    for tenant in (make_tenant(), make_tenant()):
        accounts.create_customer(
            tenant=tenant, name="Acme", external_id="acme", actor=None
        )
