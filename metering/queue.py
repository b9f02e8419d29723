"""The queue of events that are stored and not rated yet."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection

from metering.models import PendingEvents


def pending_before(
    customer_ids: Collection[uuid.UUID], instant: dt.datetime
) -> set[uuid.UUID]:
    """Return those of the customers with events received before an instant, unrated."""
    rows = PendingEvents.objects.filter(
        customer_id__in=customer_ids, received_at__lt=instant
    )
    return set(rows.values_list("customer_id", flat=True))
