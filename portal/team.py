"""Members of a tenant: invited by a link, given a role, taken off."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid

from django.db import connection
from django.db.models import Q

from aforo.core.models import Invitation, Membership, Role, Tenant, User
from aforo.core.tenancy import enter
from aforo.lib import clock, crypto

INVITATION_LIFE = dt.timedelta(days=7)


class LastOwner(Exception):
    """The change would leave the tenant without an owner."""


def open_invitations() -> list[Invitation]:
    """Return the tenant's invitations that can still be accepted, newest first."""
    waiting = Invitation.objects.filter(accepted_at=None, revoked_at=None)
    return list(waiting.filter(expires_at__gt=clock.now()))


def invite(
    *, tenant: Tenant, email: str, role: str, by: User
) -> tuple[Invitation, str]:
    """Make a one-time link for an address and return it with its token.

    An earlier open invitation of the same address stops working: one link at most.
    Only the token's digest is stored.
    """
    now = clock.now()
    earlier = Invitation.objects.filter(email=email, accepted_at=None, revoked_at=None)
    earlier.update(revoked_at=now)
    token = secrets.token_urlsafe(32)
    made = Invitation.objects.create(
        tenant=tenant,
        email=email,
        role=role,
        token_digest=crypto.hash_key(token),
        invited_by=by,
        expires_at=now + INVITATION_LIFE,
    )
    return made, token


def withdraw(invitation: Invitation) -> None:
    """Make an invitation's link stop working."""
    invitation.revoked_at = clock.now()
    invitation.save(update_fields=["revoked_at"])


def find_invitation(token: str, *, asker: uuid.UUID | None) -> Invitation | None:
    """Return the open invitation behind a link, its tenant entered, or None.

    `asker` is the signed-in user, whose own rows stay visible.
    """
    digest = crypto.hash_key(token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT aforo_find_invitation(%s)", [digest])
        tenant_id: uuid.UUID | None = cursor.fetchone()[0]
    if tenant_id is None:
        return None
    enter(tenant_id=tenant_id, user_id=asker)
    # Locked: two clicks on one link make one member.
    found = Invitation.objects.select_for_update(of=("self",)).filter(
        token_digest=digest,
        accepted_at=None,
        revoked_at=None,
        expires_at__gt=clock.now(),
    )
    return found.select_related("tenant", "invited_by").first()


def join(invitation: Invitation, user: User) -> Membership:
    """Make the person a member with the invitation's role and use the link up."""
    enter(tenant_id=invitation.tenant_id, user_id=user.pk)
    membership, _ = Membership.objects.update_or_create(
        tenant_id=invitation.tenant_id,
        user=user,
        defaults={"role": invitation.role, "is_active": True, "customer_id": None},
    )
    invitation.accepted_at = clock.now()
    invitation.save(update_fields=["accepted_at"])
    return membership


def _keep_an_owner(membership: Membership) -> None:
    """Raise LastOwner when nobody else could own the tenant.

    Locks the owners, so that two owners cannot remove each other at once.
    """
    owners = Membership.objects.select_for_update().filter(
        Q(tenant_id=membership.tenant_id), role=Role.OWNER, is_active=True
    )
    if not any(other.pk != membership.pk for other in owners):
        raise LastOwner


def change_role(membership: Membership, role: str) -> None:
    """Give a member another role; the last owner keeps theirs (LastOwner)."""
    if membership.role == Role.OWNER and membership.is_active and role != Role.OWNER:
        _keep_an_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])


def deactivate(membership: Membership) -> None:
    """Shut a member out from their next request on; the last owner stays."""
    if membership.role == Role.OWNER and membership.is_active:
        _keep_an_owner(membership)
    membership.is_active = False
    membership.save(update_fields=["is_active"])


def reactivate(membership: Membership) -> None:
    """Let a member in again, with the role they had."""
    membership.is_active = True
    membership.save(update_fields=["is_active"])
