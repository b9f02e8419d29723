"""Write down who changed what."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import models
from django.http import HttpRequest

from aforo.core.models import AuditEntry, Tenant, User
from aforo.lib.crypto import redact

# Who acts where no person does, such as a service key.
_speaker: ContextVar[str] = ContextVar("audit_speaker", default="Aforo")


@contextmanager
def speaking_for(label: str) -> Iterator[None]:
    """Let entries of the block without an actor name who acted."""
    token = _speaker.set(label)
    try:
        yield
    finally:
        _speaker.reset(token)


def record(
    *,
    tenant: Tenant | uuid.UUID,
    action: str,
    target: models.Model,
    actor: User | None = None,
    actor_label: str = "",
    changes: dict[str, list[Any]] | None = None,
    reason: str = "",
    ip: str | None = None,
) -> AuditEntry:
    """Append an audit entry; changes are {"field": [before, after]}, redacted."""
    public_id = getattr(target, "public_id", "") or str(target.pk)
    clean = {
        field: [None if v is None else redact(str(v)) for v in pair]
        for field, pair in (changes or {}).items()
    }
    return AuditEntry.objects.create(
        tenant_id=tenant.pk if isinstance(tenant, Tenant) else tenant,
        actor=actor,
        actor_label=actor_label or (str(actor) if actor else _speaker.get()),
        action=action,
        object_type=target._meta.model_name or "",
        object_id=public_id,
        object_label=redact(str(target))[:200],
        changes=clean,
        reason=reason[:300],
        ip=ip,
    )


def from_request(request: HttpRequest, **kwargs: Any) -> AuditEntry:
    """Append an audit entry for the person and tenant of a request."""
    return record(
        tenant=request.tenant,  # type: ignore[attr-defined]
        actor=request.user if isinstance(request.user, User) else None,
        ip=request.META.get("REMOTE_ADDR"),
        **kwargs,
    )
