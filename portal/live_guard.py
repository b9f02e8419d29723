"""Tells open pages that the guard decided, or that somebody decided on it."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import redis

from portal import live

log = logging.getLogger(__name__)

POKE = {"kind": "poke", "of": "guard"}


def on_news(*, tenant_id: uuid.UUID, **_: Any) -> None:
    """Poke the tenant's open pages: those of the control room then ask what moved.

    Pages are a courtesy: their trouble is logged and stops nobody.
    """
    try:
        if live.is_watched(tenant_id):
            live.push(tenant_id, POKE)
    except (redis.RedisError, OSError):
        log.warning("open pages could not be told of the guard", exc_info=True)
