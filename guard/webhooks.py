"""Webhook endpoints: added, changed, rotated, disabled; and how messages are signed.

Signing is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from aforo.core import audit, sealing
from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Tenant, User
from aforo.core.models.happenings import types as happening_types
from aforo.lib import clock
from aforo.lib.errors import AforoError
from guard import outbound
from guard.models import Delivery, WebhookEndpoint

PURPOSE: Final = "aforo webhook secret"
SECRET_BYTES: Final = 32
ENDPOINTS_MAX: Final = 20
# How long the secret before may still sign.
OVERLAP_MAX: Final = dt.timedelta(days=7)
ALERT, TEST = "alert.fired", "webhook.test"


def types() -> list[str]:
    """Return every type that an endpoint may name."""
    return [*happening_types(), ALERT]


def new_secret() -> str:
    """Return a new secret: whsec_ and 256 bits in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def _check(url: str, wanted: Sequence[str]) -> None:
    """Refuse an address or types: AforoError 422 `invalid_url` or `unknown_type`."""
    try:
        outbound.check_url(url, allow_private=settings.WEBHOOK_PRIVATE)
        outbound_host = url.split("/")[2].rpartition("@")[2]
        _refuse_literal(outbound_host)
    except outbound.AddressRefused as error:
        raise AforoError("invalid_url", 422, str(error), field="url") from error
    known = set(types())
    for name in wanted:
        if name not in known:
            raise AforoError(
                "unknown_type", 422, f"{name[:40]} is no type of event.", field="types"
            )


def _refuse_literal(host: str) -> None:
    """Refuse an IP address that is written out and not public; names are resolved late.

    Raises outbound.AddressRefused.
    """
    bare = host.partition("]")[0].lstrip("[") if "[" in host else host.partition(":")[0]
    try:
        why = outbound.refusal(bare)
    except ValueError:
        return
    if why and not settings.WEBHOOK_PRIVATE:
        raise outbound.AddressRefused(why)


@transaction.atomic
def add(
    *,
    tenant: Tenant,
    url: str,
    types: Sequence[str] = (),
    description: str = "",
    actor: User | None,
) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint; return it and its secret, which is never shown again.

    Raises AforoError 422 `invalid_url`, `unknown_type` or `too_many`.
    """
    _check(url, types)
    live = WebhookEndpoint.objects.filter(tenant=tenant, removed_at__isnull=True)
    if live.count() >= ENDPOINTS_MAX:
        raise AforoError("too_many", 422, f"At most {ENDPOINTS_MAX} endpoints.")
    secret = new_secret()
    made = WebhookEndpoint.objects.create(
        tenant=tenant,
        url=url,
        types=list(dict.fromkeys(types)),
        description=description,
        secret=sealing.seal(secret, purpose=PURPOSE),
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        action="webhook.added",
        target=made,
        changes={"url": [None, url], "types": [None, _words(made.types)]},
    )
    return made, secret


def _words(found: Sequence[str]) -> str:
    return ", ".join(found) or "all"


@transaction.atomic
def change(
    *, endpoint: WebhookEndpoint, changes: dict[str, Any], actor: User | None
) -> WebhookEndpoint:
    """Change url, types, description or enabled; enabling sends what waited.

    Raises AforoError 422 `invalid_url` or `unknown_type`.
    """
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, value)
    _check(row.url, row.types)
    enabled = changes.get("enabled")
    if enabled:
        row.disabled_reason, row.failing_since = "", None
    row.save()
    if enabled is not None and enabled != before["enabled"]:
        _follow(row, enabled)
    audit.record(
        tenant=row.tenant_id,
        actor=actor,
        action="webhook.changed",
        target=row,
        changes={n: [before[n], v] for n, v in changes.items() if v != before[n]},
    )
    return row


def _follow(endpoint: WebhookEndpoint, enabled: bool) -> None:
    """Let messages wait with a disabled endpoint, and go on with an enabled one."""
    waiting = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.WAITING)
    waiting.update(next_at=clock.now() if enabled else None)
    if enabled:
        tell(
            Kind.WEBHOOK,
            tenant=endpoint.tenant_id,
            scope=endpoint.public_id,
            severity=Severity.OK,
            text=f"The webhook endpoint {endpoint.url} is enabled again.",
            key="",
            url="/webhooks",
        )


def disable(endpoint: WebhookEndpoint, reason: str) -> None:
    """Send nothing there any more, because nothing is taken; say so once."""
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    if not row.enabled:
        return
    row.enabled, row.disabled_reason = False, reason[:300]
    row.save(update_fields=["enabled", "disabled_reason"])
    _follow(row, False)
    audit.record(
        tenant=row.tenant_id, action="webhook.disabled", target=row, reason=reason
    )
    tell(
        Kind.WEBHOOK,
        tenant=row.tenant_id,
        scope=row.public_id,
        severity=Severity.BLOCK,
        text=f"The webhook endpoint {row.url} is disabled: {reason}",
        key=clock.now().isoformat(),
        figures={"url": row.url, "failing_since": row.failing_since},
        url="/webhooks",
    )


@transaction.atomic
def rotate(
    *, endpoint: WebhookEndpoint, overlap: dt.timedelta, actor: User | None
) -> str:
    """Give an endpoint a new secret and return it; the old one signs too for a time.

    Raises AforoError 422 `invalid_overlap`.
    """
    if not dt.timedelta(0) <= overlap <= OVERLAP_MAX:
        raise AforoError("invalid_overlap", 422, "From 0 to 7 days.", field="overlap")
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    secret = new_secret()
    row.old_secret = row.secret if overlap else ""
    row.old_until = clock.now() + overlap if overlap else None
    row.secret = sealing.seal(secret, purpose=PURPOSE)
    row.save(update_fields=["secret", "old_secret", "old_until"])
    audit.record(
        tenant=row.tenant_id,
        actor=actor,
        action="webhook.rotated",
        target=row,
        changes={"old secret signs until": [None, row.old_until]},
    )
    return secret


@transaction.atomic
def remove(*, endpoint: WebhookEndpoint, actor: User | None) -> None:
    """Take an endpoint away; what was delivered stays listed, its secrets do not."""
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    row.enabled, row.removed_at = False, clock.now()
    row.secret = row.old_secret = ""
    row.save(update_fields=["enabled", "removed_at", "secret", "old_secret"])
    Delivery.objects.filter(endpoint=row, state=Delivery.State.WAITING).update(
        state=Delivery.State.FAILED, next_at=None
    )
    audit.record(
        tenant=row.tenant_id, actor=actor, action="webhook.removed", target=row
    )


def require_enabled(endpoint: WebhookEndpoint) -> None:
    """Refuse what needs an endpoint that is on: AforoError 409 `endpoint_disabled`."""
    if not endpoint.enabled:
        raise AforoError("endpoint_disabled", 409, "The endpoint is disabled.")


def secrets_of(endpoint: WebhookEndpoint, now: dt.datetime) -> list[str]:
    """Return the secrets that sign now, the newest first."""
    sealed = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_until and endpoint.old_until > now:
        sealed.append(endpoint.old_secret)
    opened = [sealing.unseal(text, purpose=PURPOSE) for text in sealed]
    return [text for text in opened if text is not None]


def headers(
    message_id: str, body: bytes, keys: Sequence[str], now: dt.datetime
) -> dict[str, str]:
    """Return the headers of one attempt: id, time, and a signature for each key."""
    stamp = str(int(now.timestamp()))
    signed = f"{message_id}.{stamp}.".encode() + body
    signatures = []
    for key in keys:
        raw = base64.b64decode(key.removeprefix("whsec_"))
        digest = hmac.digest(raw, signed, hashlib.sha256)
        signatures.append(f"v1,{base64.b64encode(digest).decode()}")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
        "Content-Type": "application/json",
        "User-Agent": f"Aforo/{settings.VERSION}",
    }
