"""What members do to their own accounts, written down for every tenant concerned."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from aforo.core import audit
from aforo.core.models import Membership, User
from aforo.core.tenancy import enter


def memberships(user: User) -> list[Membership]:
    """Return where the person is an active member; the database is told who asks."""
    enter(tenant_id=None, user_id=user.pk)
    return list(Membership.objects.filter(user=user, is_active=True))


def record(
    request: HttpRequest,
    user: User,
    action: str,
    changes: dict[str, list[Any]] | None = None,
) -> None:
    """Write a deed on one's own account into the audit of each tenant of the person."""
    for found in memberships(user):
        enter(tenant_id=found.tenant_id, user_id=user.pk)
        audit.record(
            tenant=found.tenant_id,
            action=action,
            target=user,
            actor=user,
            changes=changes,
            ip=request.META.get("REMOTE_ADDR"),
        )
    current: Membership | None = getattr(request, "membership", None)
    enter(
        tenant_id=current.tenant_id if current else None,
        user_id=user.pk,
    )
