"""Observe-only: for a while a tenant's limits report what they would have refused.

The panic switch of the control room. Credentials, suspensions, pauses and what a plan
does not include are refused as ever; quotas, rates, caps and credit are not.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any, Final

import redis
from django.db import transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from billing import books
from billing.models import Customer
from guard import stores
from guard.engine import keys
from guard.models import ObserveOnly
from guard.signals import control_changed

logger = logging.getLogger(__name__)

LASTS: Final = dt.timedelta(minutes=30)
CHUNK: Final = 1_000  # customers told in one round trip


def current(tenant: Tenant, now: dt.datetime) -> ObserveOnly | None:
    """Return the observe-only time that a tenant is in, or None; one statement."""
    return ObserveOnly.objects.filter(
        tenant=tenant, ended_at__isnull=True, ends_at__gt=now
    ).first()


def _tell(tags: list[str], until_ms: int | None) -> None:
    """Write the instant, or its absence, to the edge of every customer at once.

    The beat projects the same from the record soon after: a store that does not
    answer now is told then.
    """
    client = stores.for_projection()
    try:
        for start in range(0, len(tags), CHUNK):
            with client.pipeline(transaction=False) as pipe:
                for tag in tags[start : start + CHUNK]:
                    key: Any = keys.config_key(tag)
                    if until_ms is None:
                        pipe.hdel(key, keys.OBSERVE_FIELD)
                    else:
                        pipe.hset(key, keys.OBSERVE_FIELD, str(until_ms))
                pipe.execute()
    except redis.RedisError:
        logger.exception("the edge could not be told of observe-only")


def _customers(tenant: Tenant) -> list[str]:
    """Raise the configuration of all customers of a tenant; return their tags.

    Their books are locked in the order of ids, as everywhere.
    """
    rows = Customer.objects.filter(tenant=tenant).order_by("pk")
    found = list(rows.values_list("pk", "tag"))
    books.configure([pk for pk, _ in found], tell=False)
    return [tag for _, tag in found]


@transaction.atomic
def start(*, tenant: Tenant, actor: User, reason: str) -> ObserveOnly:
    """Let limits only report, for half an hour; it ends by itself.

    One at a time: the tenant's row is locked first. What it permits reaches the edge
    after the commit. Raises AforoError 409 `wrong_state` when it is so already.
    """
    now = clock.now()
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    if current(tenant, now) is not None:
        raise AforoError("wrong_state", 409, "The guard is observe-only already.")
    made = ObserveOnly.objects.create(
        tenant=tenant, reason=reason, actor_label=str(actor), ends_at=now + LASTS
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        action="guard.observe_only_started",
        target=made,
        changes={"guard": ["enforcing", f"observe-only {made}"]},
        reason=reason,
    )
    tags, until_ms = _customers(tenant), int(made.ends_at.timestamp() * 1000)

    def told() -> None:
        _tell(tags, until_ms)
        control_changed.send(sender=None, tenant_id=tenant.pk)

    transaction.on_commit(told)
    return made


@transaction.atomic
def stop(*, tenant: Tenant, actor: User, reason: str) -> ObserveOnly:
    """Enforce limits again before the time is over.

    It restricts, so the edge hears before the commit, and again after it, lest a
    projection that began before brought the old instant back. Raises AforoError 409
    `wrong_state` when the guard enforces.
    """
    now = clock.now()
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    found = current(tenant, now)
    if found is None:
        raise AforoError("wrong_state", 409, "The guard enforces its limits.")
    found.ended_at = now
    found.save(update_fields=["ended_at"])
    audit.record(
        tenant=tenant,
        actor=actor,
        action="guard.observe_only_ended",
        target=found,
        changes={"guard": [f"observe-only {found}", "enforcing"]},
        reason=reason,
    )
    tags = _customers(tenant)
    _tell(tags, None)

    def told() -> None:
        _tell(tags, None)
        control_changed.send(sender=None, tenant_id=tenant.pk)

    transaction.on_commit(told)
    return found
