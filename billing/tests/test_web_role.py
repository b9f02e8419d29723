"""The pages' database role can do the whole month, and sees one tenant only."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aforo.core.tenancy import as_web
from aforo.lib import clock
from billing import accounts, credentials, invoicing, wallets
from billing.models import BillingPeriod, Customer, Invoice
from billing.preview import preview
from billing.tests.cast import (
    DAY,
    HOUR,
    NOVEMBER,
    OCTOBER,
    event,
    make_cast,
    subscribe,
    use,
    with_fee,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_month_can_be_kept_and_issued_by_the_web_role():
    cast, other = make_cast(), make_cast()
    subscribe(other, with_fee("200"))
    with as_web(tenant_id=cast.tenant.pk), clock.travel(OCTOBER):
        subscribe(cast, with_fee("200"))
        wallets.top_up(
            customer=cast.customer, currency="USD", amount=Decimal(5), actor=cast.owner
        )
        use(cast, [event(OCTOBER + DAY) for _ in range(3)])
        accounts.set_spend_cap(
            customer=cast.customer, amount=Decimal(900), actor=cast.owner
        )
        credentials.issue(agent=cast.agent, products=[cast.product], actor=cast.owner)
    period = BillingPeriod.objects.get(customer=cast.customer, start_at=OCTOBER)
    with as_web(tenant_id=cast.tenant.pk):
        made = preview(customer=cast.customer, currency="USD", now=OCTOBER + DAY)
        assert made is not None
        assert made.due == 200
        assert invoicing.close(period.pk, now=NOVEMBER)
        (invoice,) = invoicing.finalise(period.pk, now=NOVEMBER + HOUR)
        assert Customer.objects.count() == 1
    assert (invoice.number, invoice.due) == ("INV-2026-0001", 200)
    with as_web(tenant_id=other.tenant.pk):
        assert not Invoice.objects.exists()
        with pytest.raises(BillingPeriod.DoesNotExist):
            invoicing.close(period.pk, now=NOVEMBER)
