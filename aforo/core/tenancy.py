"""One request, one transaction, one tenant: what row-level security is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from aforo.core.models import Membership, Tenant

# The hot doors. What lies below them is not: a correction is a request like others.
ALONE = frozenset({"/v1/check", "/v1/authz", "/v1/events", "/v1/otlp/v1/traces"})
ALONE_BELOW = ("/v1/authz/", "/v1/holds/", "/static/", "/healthz")
# Where a person's choice among several tenants is kept.
SESSION_KEY = "aforo_tenant"


def enter(*, tenant_id: uuid.UUID | None, user_id: uuid.UUID | None = None) -> None:
    """Tell the database for whom the rest of the transaction speaks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('aforo.tenant', %s, true),"
            " set_config('aforo.user', %s, true)",
            [str(tenant_id or ""), str(user_id or "")],
        )


@contextmanager
def as_web(
    *, tenant_id: uuid.UUID | None, user_id: uuid.UUID | None = None
) -> Iterator[None]:
    """Run the block in a transaction that sees the rows of one tenant only."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('role')")
            before = cursor.fetchone()[0]
            cursor.execute("SELECT set_config('role', 'aforo_web', true)")
        enter(tenant_id=tenant_id, user_id=user_id)
        try:
            yield
        finally:
            # Inside an outer transaction (tests) the role would outlive the block.
            if not connection.needs_rollback and connection.connection is not None:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('role', %s, true)", [before])


class TenantMiddleware:
    """Opens the request's transaction, finds the person, the tenant and the role.

    Sets request.user, request.membership and request.tenant (both None for somebody
    who is not signed in). A view that raises, or answers 5xx, leaves no effect.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request inside its transaction."""
        path = request.path
        if path in ALONE or path.startswith(ALONE_BELOW):
            return self.get_response(request)  # These open their own, if any.
        with as_web(tenant_id=None):
            self._identify(request)
            response = self.get_response(request)
            if response.status_code >= 500:
                transaction.set_rollback(True)
            return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Undo what the view did."""
        if connection.in_atomic_block:
            transaction.set_rollback(True)

    def _identify(self, request: HttpRequest) -> None:
        _set(request, membership=None, tenant=None)
        user = request.user
        if not user.is_authenticated:
            return
        enter(tenant_id=None, user_id=user.pk)
        memberships = list(
            Membership.objects.filter(user=user, is_active=True).order_by("created_at")
        )
        if not memberships:
            return
        wanted = request.session.get(SESSION_KEY)
        chosen = next(
            (m for m in memberships if str(m.tenant_id) == wanted), memberships[0]
        )
        enter(tenant_id=chosen.tenant_id, user_id=user.pk)
        _set(
            request,
            membership=chosen,
            tenant=SimpleLazyObject(lambda: Tenant.objects.get(pk=chosen.tenant_id)),
        )


def _set(request: HttpRequest, **values: Any) -> None:
    """Put attributes on a request that Django's type does not know."""
    for name, value in values.items():
        setattr(request, name, value)
