"""A tenant and its people, for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from aforo.core.models import Membership, Role, Tenant, User
from aforo.lib import clock
from portal.tests.scene import NOW, Scene, make_scene

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _empty_cache():
    """No failed sign-in of one test counts in another."""
    cache.clear()


@pytest.fixture
def tenant(db: None) -> Tenant:
    """The seller whose console is looked at."""
    return Tenant.objects.create(name="Acme Metering", address="1 Main St\nSpringfield")


@pytest.fixture
def make_member(tenant: Tenant):
    """Return a function that makes somebody a member with a role."""

    def make(role: Role, name: str, *, of: Tenant = tenant) -> User:
        user = User.objects.create_user(
            email=f"{name.lower()}@acme.test", password=PASSWORD, name=name
        )
        Membership.objects.create(tenant=of, user=user, role=role)
        return user

    return make


@pytest.fixture
def olga(make_member) -> User:
    """The owner."""
    return make_member(Role.OWNER, "Olga")


@pytest.fixture
def victor(make_member) -> User:
    """A viewer."""
    return make_member(Role.VIEWER, "Victor")


@pytest.fixture
def as_olga(olga: User) -> Client:
    """A browser in which the owner is signed in."""
    client = Client(raise_request_exception=False)
    client.force_login(olga)
    return client


@pytest.fixture
def as_victor(victor: User) -> Client:
    """A browser in which the viewer is signed in."""
    client = Client(raise_request_exception=False)
    client.force_login(victor)
    return client


@pytest.fixture
def noon() -> Iterator[None]:
    """Time stands in the middle of a month."""
    with clock.travel(NOW):
        yield


@pytest.fixture
def scene(db: None, noon: None) -> Scene:
    """A seller with people of every role, two months of usage and an invoice."""
    return make_scene()
