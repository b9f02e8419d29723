"""From what happened to alerts and webhook messages, each made once.

`handle` takes happenings that nobody handled, in their order: it makes a firing for
every rule that they match (at most one for a rule, scope and window), and a delivery
for every endpoint and address. Idempotent by Happening.handled_at and the unique
constraint of firings; rows are taken with SKIP LOCKED, so many workers share them.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from aforo.core import audit
from aforo.core.happenings import Severity
from aforo.core.models import Happening, Membership, Role, User
from aforo.core.models.happenings import SEVERITIES, is_news
from aforo.lib import clock, ids
from billing.models import Customer
from guard import alert_rules, webhooks
from guard.models import AlertFiring, AlertRule, Delivery, WebhookEndpoint

MOST: Final = 500


def handle(most: int = MOST) -> int:
    """Make alerts and messages of what happened; return of how many happenings."""
    with transaction.atomic():
        waiting = Happening.objects.filter(handled_at__isnull=True).order_by("pk")
        rows = list(waiting.select_for_update(skip_locked=True)[:most])
        by_tenant: dict[uuid.UUID, list[Happening]] = defaultdict(list)
        for row in rows:
            by_tenant[row.tenant_id].append(row)
        for tenant_id, mine in sorted(by_tenant.items()):
            _handle(tenant_id, mine)
        Happening.objects.filter(pk__in=[row.pk for row in rows]).update(
            handled_at=clock.now()
        )
    return len(rows)


def _handle(tenant_id: uuid.UUID, rows: Sequence[Happening]) -> None:
    """Handle the happenings of one tenant."""
    endpoints = list(WebhookEndpoint.objects.filter(tenant_id=tenant_id, enabled=True))
    rules = list(AlertRule.objects.filter(tenant_id=tenant_id, enabled=True))
    made: list[Delivery] = []
    for row in rows:
        body = message(row.type, row.created_at.isoformat(), data_of(row))
        made += [
            _to_endpoint(e, row.type, body, None)
            for e in endpoints
            if e.wants(row.type)
        ]
        for rule in rules:
            if matches(rule, row):
                firing = _fire(rule, row)
                if firing is not None:
                    made += _deliveries(rule, firing, row, endpoints)
    Delivery.objects.bulk_create(made)


def data_of(row: Happening) -> dict[str, Any]:
    """Return a happening as webhooks and the API show it."""
    return {
        "id": row.public_id,
        "kind": row.kind,
        "severity": row.severity,
        "scope": row.scope,
        "customer_id": ids.public("cus", row.customer_id) if row.customer_id else None,
        "text": row.text,
        "figures": row.figures,
        "url": f"{settings.PUBLIC_URL}{row.url}" if row.url else None,
    }


def message(type: str, at: str, data: dict[str, Any]) -> str:
    """Return the body of a webhook: type, timestamp and data, compact."""
    body = {"type": type, "timestamp": at, "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def matches(rule: AlertRule, row: Happening) -> bool:
    """Tell whether a happening is one that the rule is about, whatever was told."""
    if rule.kind != row.kind or rule.is_snoozed:
        return False
    if rule.customer_id is not None and rule.customer_id != row.customer_id:
        return False
    if is_news(row.kind):
        return True
    if row.severity == Severity.OK:
        return _is_alarmed(rule, row.scope)
    if _rank(row.severity) < _rank(rule.severity):
        return False
    if rule.threshold is None:
        return True
    line = row.figures.get("line")
    if line is None:
        return False
    # One that jumps over several lines is told of the farthest alone.
    told, own = Decimal(line), Decimal(rule.threshold)
    return told <= own if rule.kind in alert_rules.FALLING else told >= own


def _rank(severity: str) -> int:
    return SEVERITIES.index(Severity(severity))


def _is_alarmed(rule: AlertRule, scope: str) -> bool:
    """Tell whether the last that the rule said of a scope was no recovery."""
    last = (
        AlertFiring.objects.filter(rule=rule, scope=scope, happening__isnull=False)
        .order_by("-pk")
        .first()
    )
    return last is not None and last.severity != Severity.OK


def window_of(rule: AlertRule, row: Happening) -> str:
    """Return the window in which the rule says this once."""
    if row.severity == Severity.OK and not is_news(row.kind):
        return f"ok:{row.pk.hex}"
    if rule.every == AlertRule.Every.CROSSING:
        window = row.figures.get("window")
        if rule.threshold is not None and window is not None:
            return str(window)  # Its own line is crossed once, others may follow.
        return f"{row.key}:{row.severity}"
    style = "%Y-%m-%dT%H" if rule.every == AlertRule.Every.HOUR else "%Y-%m-%d"
    return f"{row.created_at.strftime(style)}:{row.severity}"


def _fire(rule: AlertRule, row: Happening) -> AlertFiring | None:
    """Write a firing; None when the rule fired for the scope in the window."""
    firing, is_new = AlertFiring.objects.get_or_create(
        rule=rule,
        scope=row.scope,
        window=window_of(rule, row),
        defaults={
            "tenant_id": rule.tenant_id,
            "happening": row,
            "severity": row.severity,
            "text": row.text,
        },
    )
    return firing if is_new else None


def _deliveries(
    rule: AlertRule,
    firing: AlertFiring,
    row: Happening | None,
    endpoints: Sequence[WebhookEndpoint],
) -> list[Delivery]:
    """Return what a firing sends: by webhook, and to each address once."""
    made = []
    if rule.webhook:
        data = {
            "id": firing.public_id,
            "rule_id": rule.public_id,
            "rule": rule.name,
            "severity": firing.severity,
            "scope": firing.scope,
            "text": firing.text,
            "is_test": firing.is_test,
            "happening": data_of(row) if row is not None else None,
        }
        body = message(webhooks.ALERT, firing.created_at.isoformat(), data)
        made += [
            _to_endpoint(e, webhooks.ALERT, body, firing)
            for e in endpoints
            if e.wants(webhooks.ALERT)
        ]
    letter = _letter(rule, firing, row)
    for address in recipients(rule, row):
        made.append(
            Delivery(
                tenant_id=rule.tenant_id,
                email=address,
                firing=firing,
                type=webhooks.ALERT,
                body=letter,
                **_due(bool(settings.SMTP_URL)),
            )
        )
    return made


def _due(is_possible: bool) -> dict[str, Any]:
    """Return the state of a new e-mail: without a mail server it failed at once."""
    if is_possible:
        return {"next_at": clock.now()}
    error = "no mail server is set (AFORO_SMTP_URL)"
    now = clock.now().isoformat(timespec="milliseconds")
    attempt = {"at": now, "status": None, "ms": 0, "error": error}
    return {"state": Delivery.State.FAILED, "attempts": [attempt]}


def _to_endpoint(
    endpoint: WebhookEndpoint, type: str, body: str, firing: AlertFiring | None
) -> Delivery:
    return Delivery(
        tenant_id=endpoint.tenant_id,
        endpoint=endpoint,
        firing=firing,
        type=type,
        body=body,
        next_at=clock.now(),
    )


def recipients(rule: AlertRule, row: Happening | None) -> list[str]:
    """Return the addresses that a firing goes to, each once, in order.

    The owner's are those of the customer's people, else its billing address, and the
    account manager's.
    """
    found = list(rule.emails)
    customer = None
    if rule.to_owner and row is not None and row.customer_id is not None:
        rows = Customer.objects.select_related("account_manager")
        customer = rows.filter(pk=row.customer_id).first()
    if customer is not None:
        people = Membership.objects.filter(
            tenant_id=rule.tenant_id,
            customer_id=customer.pk,
            role=Role.DEVELOPER,
            is_active=True,
            user__is_active=True,
        )
        own = list(people.values_list("user__email", flat=True))
        found += own or [customer.email]
        if customer.account_manager is not None:
            found.append(customer.account_manager.email)
    return list(dict.fromkeys(address for address in found if address))


def _letter(rule: AlertRule, firing: AlertFiring, row: Happening | None) -> str:
    """Return an e-mail: its subject, an empty line, its text."""
    word = Severity(firing.severity).label.upper()
    lines = [f"[Aforo] {word}: {firing.text}", "", firing.text, ""]
    if row is not None:
        lines += [f"{name}: {value}" for name, value in row.figures.items()]
        if row.url:
            lines += ["", f"{settings.PUBLIC_URL}{row.url}"]
    lines += [
        "",
        f"Rule: {rule.name}",
        f"{settings.PUBLIC_URL}/alerts/{rule.public_id}",
    ]
    return "\n".join(lines)


@transaction.atomic
def test_fire(*, rule: AlertRule, actor: User | None) -> AlertFiring:
    """Let a rule fire by hand, on all its channels, whether it is on or snoozed."""
    firing = AlertFiring(
        tenant_id=rule.tenant_id,
        rule=rule,
        scope="test",
        severity=rule.severity,
        text=f"Test of the alert {rule.name}"[:300],
    )
    firing.window = f"test:{firing.pk.hex}"
    firing.save()
    endpoints = list(
        WebhookEndpoint.objects.filter(tenant_id=rule.tenant_id, enabled=True)
    )
    Delivery.objects.bulk_create(_deliveries(rule, firing, None, endpoints))
    audit.record(tenant=rule.tenant_id, actor=actor, action="alert.tested", target=rule)
    return firing


@transaction.atomic
def test_endpoint(*, endpoint: WebhookEndpoint, actor: User | None) -> Delivery:
    """Send a test message to an endpoint, whatever types it names.

    Raises AforoError 409 `endpoint_disabled` when it is.
    """
    webhooks.require_enabled(endpoint)
    data = {"text": "A test of this endpoint.", "endpoint_id": endpoint.public_id}
    body = message(webhooks.TEST, clock.now().isoformat(), data)
    made = _to_endpoint(endpoint, webhooks.TEST, body, None)
    made.save()
    audit.record(
        tenant=endpoint.tenant_id, actor=actor, action="webhook.tested", target=endpoint
    )
    return made
