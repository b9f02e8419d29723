"""Alert rules: made, changed, snoozed, deleted; and the lines that they name."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from aforo.core import audit
from aforo.core.happenings import Kind, Severity
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing.models import Customer
from guard.models import AlertRule

EMAILS_MAX: Final = 20
RULES_MAX: Final = 200
SNOOZE_MAX: Final = dt.timedelta(days=30)
REREAD_S: Final = 5.0


class Line:
    """What the threshold of a kind means, and what is told without any rule."""

    def __init__(
        self, words: str, least: str, most: str, standard: tuple[str, ...]
    ) -> None:
        self.words = words
        self.least, self.most = Decimal(least), Decimal(most)
        self.standard = tuple(Decimal(text) for text in standard)


LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        Kind.QUOTA: Line("percent of the quota used", "1", "1000", ("80", "100")),
        Kind.WALLET: Line("percent of the credit left", "0", "99", ("20", "0")),
        Kind.COMMITMENT: Line("percent of the commitment used", "1", "1000", ("80",)),
        Kind.VELOCITY: Line("times the usual pace", "1.1", "1000", ("3",)),
        Kind.SESSION: Line("projected price of the session", "0.01", "1000000", ()),
    }
)
# Kinds whose figure falls to its line; that of the others rises.
FALLING: Final = frozenset({Kind.WALLET})
STARTERS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "velocity": {
            "name": "An agent calls a tool three times as often",
            "kind": Kind.VELOCITY,
            "threshold": Decimal(3),
            "every": AlertRule.Every.HOUR,
            "to_owner": True,
        },
        "wallet": {
            "name": "A wallet has 20 % left",
            "kind": Kind.WALLET,
            "threshold": Decimal(20),
        },
        "margin": {
            "name": "A margin falls below its line",
            "kind": Kind.MARGIN,
            "severity": Severity.WARN,
        },
        "cap": {
            "name": "A spend cap is near or reached",
            "kind": Kind.CAP,
            "severity": Severity.WARN,
        },
    }
)
FIELDS: Final = (
    "name",
    "kind",
    "threshold",
    "severity",
    "customer_id",
    "every",
    "emails",
    "to_owner",
    "webhook",
    "enabled",
)


def _check(rule: AlertRule) -> None:
    """Refuse what no rule can be: AforoError 422 with the field at fault."""
    line = LINES.get(rule.kind)
    if rule.threshold is not None:
        if line is None:
            detail = f"{rule.get_kind_display()} has no threshold of its own."
            raise AforoError("invalid_threshold", 422, detail, field="threshold")
        if not line.least <= rule.threshold <= line.most:
            detail = f"From {line.least} to {line.most:,}: {line.words}."
            raise AforoError("invalid_threshold", 422, detail, field="threshold")
    elif line is not None and not line.standard:
        detail = f"Name a threshold: {line.words}."
        raise AforoError("invalid_threshold", 422, detail, field="threshold")
    if len(rule.emails) > EMAILS_MAX:
        raise AforoError(
            "too_many", 422, f"At most {EMAILS_MAX} addresses.", field="emails"
        )
    for address in rule.emails:
        try:
            validate_email(address)
        except ValidationError as error:
            detail = f"{address[:80]} is no e-mail address."
            raise AforoError("invalid_email", 422, detail, field="emails") from error
    if rule.customer_id is not None:
        owner = Customer.objects.filter(pk=rule.customer_id, tenant=rule.tenant_id)
        if not owner.exists():
            raise AforoError(
                "unknown_customer", 422, "There is no such customer.", field="customer"
            )


def _save(rule: AlertRule) -> None:
    """Write a rule; AforoError 422 `already_exists` when its name is taken."""
    _check(rule)
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError as error:
        detail = f"There is a rule {rule.name} already."
        raise AforoError("already_exists", 422, detail, field="name") from error


@transaction.atomic
def create(
    *, tenant: Tenant, values: Mapping[str, Any], actor: User | None
) -> AlertRule:
    """Add a rule; `values` by the names of FIELDS.

    Raises AforoError 422 with the field at fault, or `too_many`.
    """
    if AlertRule.objects.filter(tenant=tenant).count() >= RULES_MAX:
        raise AforoError("too_many", 422, f"At most {RULES_MAX} rules.")
    rule = AlertRule(tenant=tenant, **values)
    _save(rule)
    told = {
        name: [None, _word(getattr(rule, name))] for name in FIELDS if name in values
    }
    audit.record(
        tenant=tenant, actor=actor, action="alert.created", target=rule, changes=told
    )
    return rule


@transaction.atomic
def change(
    *, rule: AlertRule, values: Mapping[str, Any], actor: User | None
) -> AlertRule:
    """Change a rule; raises as `create` does."""
    row = AlertRule.objects.select_for_update().get(pk=rule.pk)
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    _save(row)
    told = {
        name: [_word(before[name]), _word(value)]
        for name, value in values.items()
        if before[name] != value
    }
    audit.record(
        tenant=row.tenant_id,
        actor=actor,
        action="alert.changed",
        target=row,
        changes=told,
    )
    return row


def _word(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


@transaction.atomic
def snooze(
    *, rule: AlertRule, during: dt.timedelta | None, actor: User | None
) -> AlertRule:
    """Let a rule keep quiet for a time, or speak again (None).

    Raises AforoError 422 `invalid_snooze`.
    """
    if during is not None and not dt.timedelta(0) < during <= SNOOZE_MAX:
        raise AforoError("invalid_snooze", 422, "At most 30 days.", field="during")
    row = AlertRule.objects.select_for_update().get(pk=rule.pk)
    before = row.snoozed_until
    row.snoozed_until = clock.now() + during if during else None
    row.save(update_fields=["snoozed_until"])
    audit.record(
        tenant=row.tenant_id,
        actor=actor,
        action="alert.snoozed" if during else "alert.woken",
        target=row,
        changes={"snoozed_until": [before, row.snoozed_until]},
    )
    return row


def add_starters(*, tenant: Tenant, actor: User | None) -> list[AlertRule]:
    """Add the starters whose kind has no rule yet; return them."""
    known = set(AlertRule.objects.filter(tenant=tenant).values_list("kind", flat=True))
    return [
        create(tenant=tenant, values=values, actor=actor)
        for values in STARTERS.values()
        if values["kind"] not in known
    ]


# By tenant: when it was read, and the thresholds of its rules by kind.
_read: dict[uuid.UUID, tuple[float, dict[str, set[Decimal]]]] = {}


def lines(tenant_id: uuid.UUID, kind: str) -> tuple[Decimal, ...]:
    """Return the lines that are told of a kind, ascending: the standard and rules'.

    What a process read is good for five seconds.
    """
    now = time.monotonic()
    found = _read.get(tenant_id)
    if found is None or now - found[0] > REREAD_S:
        rules: dict[str, set[Decimal]] = {}
        rows = AlertRule.objects.filter(
            tenant_id=tenant_id, enabled=True, threshold__isnull=False
        ).values_list("kind", "threshold")
        for name, threshold in rows:
            if threshold is not None:
                rules.setdefault(name, set()).add(threshold.normalize())
        found = _read[tenant_id] = (now, rules)
    standard = LINES[kind].standard if kind in LINES else ()
    return tuple(sorted({*standard, *found[1].get(kind, ())}))


def forget() -> None:
    """Read every tenant's rules anew: for tests."""
    _read.clear()
