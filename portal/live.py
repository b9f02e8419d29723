"""Push to the pages that are open: figures to swap and rows to announce."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from typing import Any

import redis
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache

log = logging.getLogger(__name__)

# A page whose socket was silent for so long is closed.
WATCHED_S = 15


def group(tenant_id: uuid.UUID) -> str:
    """Return the name of the group of a tenant's open pages."""
    return f"tenant.{tenant_id.hex}"


def _watch_key(tenant_id: uuid.UUID) -> str:
    """Return the cache key that says that somebody looks."""
    return f"watched:{tenant_id.hex}"


def watch(tenant_id: uuid.UUID) -> None:
    """Note that a page of the tenant is open; its socket says so with every beat."""
    with contextlib.suppress(redis.RedisError, OSError):
        cache.set(_watch_key(tenant_id), 1, WATCHED_S)


def is_watched(tenant_id: uuid.UUID) -> bool:
    """Tell whether any page of the tenant is open; if none is, nothing is pushed."""
    return bool(cache.get(_watch_key(tenant_id)))


def push(tenant_id: uuid.UUID, message: dict[str, Any]) -> None:
    """Send a message to every open page of the tenant's staff.

    {"kind": "kpi", "values": {key: html}} swaps the parts with data-live="key";
    {"kind": "feed", "items": [{"feed": name, "id": id, "html": "<li …>"}]} announces
    rows for the list with data-feed="name". The HTML must be escaped already. Pages
    are told at most once and only if open: a lost message costs a stale figure until
    the next one, so a fault is logged and never raised.
    """
    layer = get_channel_layer()
    event = {"type": "live.message", "text": json.dumps(message, ensure_ascii=False)}
    try:
        async_to_sync(layer.group_send)(group(tenant_id), event)
    except (redis.RedisError, OSError):
        log.warning("open pages could not be told: Redis does not answer")
