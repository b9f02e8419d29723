"""What the guard hears from the apps below, and does at once.

Restrictions reach the edge inside their transaction, permissions after its commit.
A store that does not answer fails nobody's change: the beat brings it up to date.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

import redis
from celery import current_app
from kombu.exceptions import OperationalError

from aforo.core.signals import happened, service_key_revoking, service_keys_changed
from billing.signals import books_changed, config_changed, restricting
from guard import projection, tellers, thresholds
from guard.signals import margin_changed

logger = logging.getLogger(__name__)


def on_books_changed(*, customer_ids: Iterable[uuid.UUID], **_: Any) -> None:
    """Project totals and settle the holds of what was rated."""
    _project(customer_ids, config=False)


def on_config_changed(*, customer_ids: Iterable[uuid.UUID], **_: Any) -> None:
    """Project the configuration."""
    _project(customer_ids, config=True)


def _project(customer_ids: Iterable[uuid.UUID], *, config: bool) -> None:
    try:
        projection.project_customers(customer_ids, config=config, seen=thresholds.look)
    except redis.RedisError as error:
        logger.warning("the edge could not be told: %s", error)


def on_restricting(*, customer_id: uuid.UUID, **_: Any) -> None:
    """Let the edge refuse before the record says so."""
    projection.restrict(customer_id)


def on_service_keys(*, tenant_id: uuid.UUID, **_: Any) -> None:
    """Project a tenant's service keys: inside the transaction that revokes one too."""
    try:
        with projection.as_tenant(tenant_id):
            projection.project_service_keys([tenant_id])
    except redis.RedisError as error:
        logger.warning("the edge could not be told of a service key: %s", error)


def on_happened(**_: Any) -> None:
    """Let a worker make alerts of what happened; the beat finds what is lost."""
    try:
        current_app.send_task("guard.handle_happenings")
    except (OperationalError, redis.RedisError, OSError) as error:
        logger.warning("nobody could be woken for alerts: %s", error)


def connect() -> None:
    """Listen."""
    books_changed.connect(on_books_changed, dispatch_uid="guard.books")
    config_changed.connect(on_config_changed, dispatch_uid="guard.config")
    restricting.connect(on_restricting, dispatch_uid="guard.restricting")
    service_keys_changed.connect(on_service_keys, dispatch_uid="guard.service_keys")
    service_key_revoking.connect(on_service_keys, dispatch_uid="guard.revoking")
    happened.connect(on_happened, dispatch_uid="guard.happened")
    margin_changed.connect(tellers.on_margin_changed, dispatch_uid="guard.margin")
