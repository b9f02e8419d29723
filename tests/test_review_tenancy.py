"""What the web role may not do to rows that it can read but does not own."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aforo.core import tenancy
from aforo.core.models import Membership, Role
from aforo.lib import clock
from catalog.models import CostRate
from tests.factories import make_tenant, make_user

pytestmark = pytest.mark.django_db


def _library_rate() -> CostRate:
    return CostRate.objects.create(
        tenant=None,
        provider="openai",
        model="gpt-4o",
        unit="output_tokens",
        amount=Decimal("0.00001"),
        currency="USD",
        source=CostRate.Source.LIBRARY,
        valid_from=clock.now() - dt.timedelta(days=9),
    )


def test_a_tenant_reads_the_librarys_rates_and_cannot_take_them() -> None:
    rate, tenant = _library_rate(), make_tenant()
    with tenancy.as_web(tenant_id=tenant.pk):
        assert CostRate.objects.filter(pk=rate.pk).exists()
        assert CostRate.objects.filter(pk=rate.pk).update(tenant=tenant) == 0
        assert CostRate.objects.filter(pk=rate.pk).delete()[0] == 0
    assert CostRate.objects.get(pk=rate.pk).tenant is None


def test_a_membership_elsewhere_can_be_seen_and_not_changed() -> None:
    here, there, user = make_tenant(), make_tenant(), make_user()
    Membership.objects.create(tenant=here, user=user, role=Role.OWNER)
    elsewhere = Membership.objects.create(tenant=there, user=user, role=Role.OWNER)
    with tenancy.as_web(tenant_id=here.pk, user_id=user.pk):
        rows = Membership.objects.filter(pk=elsewhere.pk)
        assert rows.exists()
        assert rows.update(tenant=here) == 0
        assert rows.delete()[0] == 0
    assert Membership.objects.get(pk=elsewhere.pk).tenant == there
