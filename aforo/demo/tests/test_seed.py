"""The demo's tenant is made once, whole, and whoever repeats it changes nothing."""

from __future__ import annotations

import datetime as dt
import stat

import pytest
from django.db import transaction

from aforo.core.models import AuditEntry, FxRate, Role, ServiceKey, Tenant, User
from aforo.demo import cast, history, keys, plans, seed
from aforo.lib import clock
from billing.models import (
    Credential,
    Customer,
    CustomerBooks,
    Subscription,
    SubscriptionSnapshot,
    Wallet,
)
from catalog.models import PlanVersion, Product, ProductType

pytestmark = pytest.mark.django_db


def quiet(_line: str) -> None:
    """Print nothing."""


@pytest.fixture(scope="module")
def seeded(django_db_setup, django_db_blocker, tmp_path_factory):
    """A demo for all tests here: making one takes seconds."""
    keyring = keys.open_keyring(tmp_path_factory.mktemp("demo"))
    with django_db_blocker.unblock(), transaction.atomic():
        yield seed.seed(None, keyring, quiet), keyring
        transaction.set_rollback(True)


@pytest.fixture
def tenant(seeded):
    return seeded[0]


@pytest.fixture
def keyring(seeded):
    return seeded[1]


def counts() -> tuple[int, ...]:
    kept = (Product, PlanVersion, Customer, Credential, Subscription, AuditEntry, User)
    return tuple(model.objects.count() for model in kept)


def test_the_tenant_sells_one_product_of_each_type_and_more(tenant):
    types = set(Product.objects.values_list("type", flat=True))
    assert types == set(ProductType.values)
    published = PlanVersion.objects.filter(state=PlanVersion.State.PUBLISHED)
    assert published.count() == sum(len(p.plans) for p in plans.PRODUCTS.values())


def test_the_plans_use_every_charge_model(tenant):
    models = set()
    for version in PlanVersion.objects.all():
        for charge in version.body["charges"]:
            price = charge["price"]
            models.add(price["model"])
            models.add(price.get("overage", price)["model"])
    assert models == {
        "compound",
        "dimensions",
        "flat",
        "graduated",
        "included",
        "package",
        "per_unit",
        "percentage",
        "recipe",
        "volume",
    }


def test_seeding_again_changes_nothing(tenant, keyring):
    before = counts()
    assert seed.seed(None, keyring, quiet) == tenant
    assert counts() == before


def test_every_role_can_sign_in_with_the_printed_password(tenant):
    logins = seed.logins(tenant)
    assert {login["role"] for login in logins} == set(Role.labels)
    for login in logins:
        assert User.objects.get(email=login["email"]).check_password(login["password"])


def test_customers_have_agents_credentials_contracts_and_some_credit(tenant):
    for external_id, spec in cast.CUSTOMERS.items():
        customer = Customer.objects.get(tenant=tenant, external_id=external_id)
        assert customer.credentials.count() == len(spec.agents)
        contracts = len(spec.plans) + len(spec.allocations)
        assert customer.subscriptions.count() == contracts
    assert sum(w.balance for w in Wallet.objects.all()) == 400


def test_contracts_say_what_is_theirs_alone(tenant):
    said = {
        (s.subscription.customer.external_id, s.subscription.agent_id is None): s
        for s in SubscriptionSnapshot.objects.select_related("subscription__customer")
    }
    assert said["falkner", True].overrides == {"currency": "EUR"}
    own = said["paragon", True].overrides["charges"]
    assert own["reviewed"]["price"]["price"]["unit_amount"] == "0.75"
    parts = SubscriptionSnapshot.objects.exclude(subscription__agent=None)
    amounts = sorted(part.commitment["amount"] for part in parts)
    assert amounts == [200, 300, 500]


def test_our_cost_of_contracts_in_euros_is_known(tenant):
    rate = FxRate.objects.get(tenant=tenant)
    assert (rate.base, rate.quote) == ("EUR", "USD")


def test_the_launch_offer_holds_from_the_first_month_of_the_history(tenant):
    growth = PlanVersion.objects.get(plan__code="contract-growth").body
    (offer,) = growth["discounts"]
    first, until = (dt.date.fromisoformat(offer[name]) for name in ("from", "until"))
    assert (first.day, until.day) == (1, 1)
    assert first <= (clock.now() - history.LENGTH).date()
    assert clock.now().date() < until


def test_invoices_wait_until_the_history_is_in(tenant):
    assert not CustomerBooks.objects.filter(parked_at__isnull=True).exists()


def test_the_secrets_are_in_a_file_that_only_its_owner_reads(tenant, keyring):
    assert stat.S_IMODE(keyring.path.stat().st_mode) == 0o600
    again = keys.open_keyring(keyring.path.parent)
    assert again.service_key == keyring.service_key
    assert set(again.agents) == {a for c in cast.CUSTOMERS.values() for a in c.agents}


def test_a_lost_file_brings_a_new_service_key(tenant, tmp_path):
    fresh = keys.open_keyring(tmp_path)
    seed.seed(None, fresh, quiet)
    assert fresh.service_key
    assert ServiceKey.objects.filter(tenant=tenant).count() == 2


def test_a_tenant_of_somebody_is_filled_without_giving_its_staff_away(tmp_path):
    own = Tenant.objects.create(name="Acme")
    assert seed.seed(own, keys.open_keyring(tmp_path), quiet) == own
    own.refresh_from_db()
    assert own.name == "Acme"
    assert [login["role"] for login in seed.logins(own)] == ["Developer", "Developer"]
