"""The first run: one tenant, its owner, and demo data if wanted."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management import get_commands
from django.db import connection, transaction

from aforo.core import audit
from aforo.core.models import Membership, Role, Tenant, User
from aforo.core.tenancy import enter
from aforo.lib import ids
from portal import tasks

# Any number; it names the lock that lets one first run through at a time.
SETUP_LOCK = 4_170_001


class AlreadySetUp(Exception):
    """A tenant exists; further ones are not made on a public page."""


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first page asks for."""

    organisation: str
    legal_name: str
    address: str
    currency: str
    timezone: str
    name: str
    email: str
    password: str


def is_needed() -> bool:
    """Tell whether no tenant exists yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT aforo_has_tenant()")
        return not cursor.fetchone()[0]


def create(given: FirstRun, *, ip: str | None) -> tuple[Tenant, User]:
    """Make the tenant and its owner in one transaction.

    Raises AlreadySetUp when somebody was faster.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SETUP_LOCK])
    if not is_needed():
        raise AlreadySetUp
    tenant_id = ids.new_id()
    owner = User.objects.create_user(
        email=given.email, password=given.password, name=given.name
    )
    enter(tenant_id=tenant_id, user_id=owner.pk)
    tenant = Tenant.objects.create(
        id=tenant_id,
        name=given.organisation,
        legal_name=given.legal_name or given.organisation,
        address=given.address,
        email=given.email.strip().lower(),
        currency=given.currency,
        timezone=given.timezone,
    )
    Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
    audit.record(
        tenant=tenant, action="tenant.created", target=tenant, actor=owner, ip=ip
    )
    return tenant, owner


def has_demo() -> bool:
    """Tell whether this installation ships demo data."""
    return "demo" in get_commands()


def load_demo(tenant: Tenant) -> None:
    """Have the worker fill the tenant with demo data once all is committed."""
    transaction.on_commit(lambda: tasks.load_demo.delay(str(tenant.pk)))
