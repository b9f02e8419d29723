"""What a person decides on one subject: release, allow once, throttle, snooze, undo.

Every write locks the customer's books first (billing.books.configure). What permits
reaches the edge after the commit, what restricts before it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from django.db import transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books
from billing.models import Agent, Customer
from guard import projection
from guard.engine.decision import Reason
from guard.models import Override
from guard.signals import control_changed
from guard.wording import WORDINGS, reason_words

Kind = Override.Kind
RELEASE_LASTS: Final = dt.timedelta(hours=1)
# How long the one call may let wait for it.
ONCE_LASTS: Final = dt.timedelta(hours=1)
SNOOZE_LASTS: Final = dt.timedelta(hours=4)
LONGEST: Final = dt.timedelta(days=7)
# The caller's own word, a bound of the store, and its absence: nobody lifts these.
KEPT: Final = frozenset({Reason.CEILING, Reason.OPEN_CALLS, Reason.OUTAGE})


def can_lift(code: str) -> bool:
    """Tell whether a person may lift the limit of a reason code for a while."""
    try:
        reason = Reason(code)
    except ValueError:
        return False
    return WORDINGS[reason].status == 429 and reason not in KEPT


def _told(tenant_id: uuid.UUID) -> None:
    """Let open pages hear of it after the commit."""
    transaction.on_commit(
        lambda: control_changed.send(sender=None, tenant_id=tenant_id)
    )


def _make(
    kind: Kind,
    *,
    customer: Customer,
    agent: Agent | None,
    name: str,
    lasts: dt.timedelta,
    actor: User,
    reason: str,
    action: str,
) -> Override:
    """Write one override with its audit entry, the books locked first."""
    if not dt.timedelta() < lasts <= LONGEST:
        raise AforoError(
            "invalid_span", 422, "Choose a time of up to 7 days.", field="lasts"
        )
    books.configure([customer.pk])
    made = Override.objects.create(
        tenant_id=customer.tenant_id,
        kind=kind,
        customer=customer,
        agent=agent,
        name=name,
        reason=reason,
        actor_label=str(actor),
        ends_at=clock.now() + lasts,
    )
    audit.record(
        tenant=customer.tenant_id,
        actor=actor,
        action=action,
        target=agent or customer,
        changes={
            name or "guard": [None, f"{kind.label} until {made.ends_at:%F %H:%M} UTC"]
        },
        reason=reason,
    )
    _told(customer.tenant_id)
    return made


@transaction.atomic
def release(
    *,
    customer: Customer,
    agent: Agent | None,
    limit: str,
    actor: User,
    reason: str,
    lasts: dt.timedelta = RELEASE_LASTS,
) -> Override:
    """Let one named limit not bind an agent, or the whole customer, for a time.

    Other limits hold. Raises AforoError 422 `cannot_lift` for a reason that is no
    limit, `invalid_span` for a time beyond a week.
    """
    _check_liftable(limit)
    return _make(
        Kind.RELEASE,
        customer=customer,
        agent=agent,
        name=limit,
        lasts=lasts,
        actor=actor,
        reason=reason,
        action="guard.released",
    )


@transaction.atomic
def allow_once(
    *, customer: Customer, agent: Agent | None, limit: str, actor: User, reason: str
) -> Override:
    """Let the next call of a subject pass one limit, within the hour.

    Raises AforoError 422 `cannot_lift`.
    """
    _check_liftable(limit)
    return _make(
        Kind.ONCE,
        customer=customer,
        agent=agent,
        name=limit,
        lasts=ONCE_LASTS,
        actor=actor,
        reason=reason,
        action="guard.allowed_once",
    )


def _check_liftable(limit: str) -> None:
    if not can_lift(limit):
        detail = f"{reason_words(limit)}: this is no limit that can be lifted."
        raise AforoError("cannot_lift", 422, detail, field="limit")


@transaction.atomic
def throttle(
    *,
    customer: Customer,
    agent: Agent | None,
    lasts: dt.timedelta,
    actor: User,
    reason: str,
) -> Override:
    """Answer `throttle` to the calls of an agent, or of the whole customer.

    The edge does so before the commit. Raises AforoError 422 `invalid_span`.
    """
    made = _make(
        Kind.THROTTLE,
        customer=customer,
        agent=agent,
        name="",
        lasts=lasts,
        actor=actor,
        reason=reason,
        action="guard.throttled",
    )
    projection.restrict(customer.pk)
    return made


@transaction.atomic
def snooze(
    *,
    tenant: Tenant,
    key: str,
    actor: User,
    reason: str = "",
    lasts: dt.timedelta = SNOOZE_LASTS,
) -> Override:
    """Keep an item out of the lists of the control room for a while.

    It changes nothing that callers meet.
    """
    made = Override.objects.create(
        tenant=tenant,
        kind=Kind.SNOOZE,
        name=key,
        reason=reason,
        actor_label=str(actor),
        ends_at=clock.now() + lasts,
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        action="guard.snoozed",
        target=made,
        changes={key: [None, f"snoozed until {made.ends_at:%F %H:%M} UTC"]},
        reason=reason,
    )
    _told(tenant.pk)
    return made


@transaction.atomic
def end(*, override: Override, actor: User, reason: str = "") -> Override:
    """Undo what a person decided before its time is over.

    The end of a release restricts, so the edge hears before the commit; the end of a
    throttle permits. Raises AforoError 409 `wrong_state` when it is over already.
    """
    now = clock.now()
    customer = override.customer
    if customer is not None:
        books.configure([customer.pk])
    ended = Override.objects.filter(
        pk=override.pk, ended_at__isnull=True, used_at__isnull=True, ends_at__gt=now
    ).update(ended_at=now)
    override.refresh_from_db()
    if not ended:
        raise AforoError("wrong_state", 409, "It is over already.")
    audit.record(
        tenant=override.tenant_id,
        actor=actor,
        action="guard.override_ended",
        target=override.agent or customer or override,
        changes={override.name or "guard": [override.get_kind_display(), "undone"]},
        reason=reason,
    )
    if customer is not None and override.kind in (Kind.RELEASE, Kind.ONCE):
        projection.restrict(customer.pk)
    _told(override.tenant_id)
    return override


def in_force(now: dt.datetime) -> list[Override]:
    """Return what people decided that holds, the latest first; one statement."""
    return list(
        Override.objects.filter(
            ends_at__gt=now, ended_at__isnull=True, used_at__isnull=True
        ).select_related("customer", "agent")
    )


def find(key: uuid.UUID) -> Override | None:
    """Return an override by its key, also one that is over."""
    return Override.objects.filter(pk=key).first()
