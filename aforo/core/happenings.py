"""The one way to say that something happened.

`tell` writes a row inside the teller's transaction; alerts, webhooks and open pages
are made of it after the commit. A teller may tell the same thing as often as it sees
it: the row is written once.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import transaction

from aforo.core.models import Happening, Tenant
from aforo.core.models.happenings import Kind, Severity, is_news
from aforo.core.signals import happened
from aforo.lib import clock
from aforo.lib.money import plain

__all__ = ["Kind", "Severity", "tell"]
log = logging.getLogger(__name__)


def tell(
    kind: Kind,
    *,
    tenant: Tenant | uuid.UUID,
    scope: str,
    severity: Severity,
    text: str,
    key: str,
    figures: Mapping[str, Any] | None = None,
    customer_id: uuid.UUID | None = None,
    url: str = "",
) -> Happening | None:
    """Say that something happened; return its row, or None when it was told before.

    `scope` is whom it is about, by public ids ("agt_…", "sub_…/tokens"). `key` names
    the window and the line, so that one crossing is told once ("2026-11:80"); at most
    one row for kind, scope, key and severity. `text` has the real figure ("87 % of
    monthly quota"), `figures` the same as data: Decimals and instants become text.
    `url` is a path of the console.

    Severity OK is a recovery: it is written once, and only while something of the
    same kind and scope is open. Kinds with a dot (news) have none: each key is told.
    Idempotency key: the unique constraint; takes no lock but the rows it resolves.
    """
    tenant_id = tenant.pk if isinstance(tenant, Tenant) else tenant
    now = clock.now()
    with transaction.atomic():
        if severity == Severity.OK and not is_news(kind):
            resolved = _resolve(tenant_id, kind, scope, now)
            if resolved is None:
                return None
            key = f"ok:{resolved.hex}"
        row = Happening(
            tenant_id=tenant_id,
            kind=kind,
            severity=severity,
            scope=scope[:200],
            key=key[:120],
            customer_id=customer_id,
            text=text[:300],
            figures={name: _plain(value) for name, value in (figures or {}).items()},
            url=url,
            resolved_at=now if is_news(kind) or severity == Severity.OK else None,
        )
        made = Happening.objects.bulk_create([row], ignore_conflicts=True)
        # With ignore_conflicts nobody says whether the row is ours.
        if not Happening.objects.filter(pk=made[0].pk).exists():
            return None
        transaction.on_commit(lambda: _after_commit(row))
    return row


def _resolve(
    tenant_id: uuid.UUID, kind: str, scope: str, now: dt.datetime
) -> uuid.UUID | None:
    """Close what is open of a scope; return the newest of it, None: nothing was."""
    open_rows = (
        Happening.objects.select_for_update()
        .filter(tenant_id=tenant_id, kind=kind, scope=scope, resolved_at__isnull=True)
        .exclude(severity=Severity.OK)
        .order_by("pk")
    )
    found = [row.pk for row in open_rows]
    Happening.objects.filter(pk__in=found).update(resolved_at=now)
    return found[-1] if found else None


def _after_commit(row: Happening) -> None:
    """Let alerts be made; whoever hears it may fail without the teller."""
    for receiver, answer in happened.send_robust(sender=None, happening=row):
        if isinstance(answer, Exception):
            log.warning("%s: %s", receiver, answer, exc_info=answer)


def _plain(value: Any) -> Any:
    """Return a figure as JSON has it."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value
