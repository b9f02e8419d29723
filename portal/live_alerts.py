"""The feed of what happened: rendered for the page and for its socket alike."""

from __future__ import annotations

import logging
from typing import Any

import redis
from django.template.loader import render_to_string

from aforo.core.models import Happening
from portal import live

log = logging.getLogger(__name__)


def row_html(row: Happening) -> str:
    """Return one row of the feed."""
    return render_to_string("portal/_alert_row.html", {"row": row, "agent": agent(row)})


def agent(row: Happening) -> str:
    """Return the agent that a row may pause: of velocity that still lasts."""
    return row.scope.partition("/")[0] if row.kind == "velocity" else ""


def on_happened(*, happening: Happening, **_: Any) -> None:
    """Announce a happening on the tenant's open pages, right after its commit."""
    try:
        if not live.is_watched(happening.tenant_id):
            return
    except (redis.RedisError, OSError):
        log.warning("open pages could not be told of an alert")
        return
    item = {
        "feed": "alerts",
        "id": happening.public_id,
        "html": row_html(happening),
    }
    live.push(happening.tenant_id, {"kind": "feed", "items": [item]})
