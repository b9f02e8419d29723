"""Service keys: what a tenant's gateways and backend call with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db import transaction

from aforo.core import audit
from aforo.core.models import ServiceKey, Tenant, User
from aforo.core.signals import service_key_revoking, service_keys_changed
from aforo.lib import clock, crypto
from aforo.lib.errors import AforoError


@transaction.atomic
def issue(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    actor: User | None,
    expires_at: dt.datetime | None = None,
) -> tuple[ServiceKey, str]:
    """Make a service key; the secret is returned once and stored as its SHA-256.

    Scopes are of ServiceKey.SCOPES. Raises AforoError 422 `unknown_scope`.
    """
    unknown = set(scopes) - set(ServiceKey.SCOPES)
    if unknown or not scopes:
        raise AforoError(
            "unknown_scope",
            422,
            f"At least one of {', '.join(ServiceKey.SCOPES)}.",
            field="scopes",
        )
    secret = crypto.mint_key("svc", "test" if tenant.sandbox else "live", tenant.tag)
    key = ServiceKey.objects.create(
        tenant=tenant,
        name=name,
        digest=crypto.hash_key(secret),
        last_four=secret[-4:],
        scopes=[scope for scope in ServiceKey.SCOPES if scope in scopes],
        created_by=actor,
        expires_at=expires_at,
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        action="service_key.issued",
        target=key,
        changes={"scopes": [None, ", ".join(key.scopes)]},
    )
    _tell_after_commit(key)
    return key, secret


@transaction.atomic
def revoke(*, key: ServiceKey, actor: User | None, reason: str = "") -> ServiceKey:
    """Refuse a service key from now on, everywhere; again is no change."""
    key = ServiceKey.objects.select_for_update().get(pk=key.pk)
    if key.revoked_at is not None:
        return key
    key.revoked_at = clock.now()
    key.save(update_fields=["revoked_at"])
    audit.record(
        tenant=key.tenant_id,
        actor=actor,
        action="service_key.revoked",
        target=key,
        changes={"state": ["live", "revoked"]},
        reason=reason,
    )
    service_key_revoking.send(
        sender=None, tenant_id=key.tenant_id, key_id=key.pk, digest=key.digest
    )
    _tell_after_commit(key)
    return key


def _tell_after_commit(key: ServiceKey) -> None:
    """Name the key to whoever keeps keys at the edge."""
    transaction.on_commit(
        lambda: service_keys_changed.send(
            sender=None, tenant_id=key.tenant_id, key_ids=[key.pk]
        )
    )
