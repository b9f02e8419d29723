"""What metering tells the pages above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent by the relay after a batch is published, once for each tenant in it, with
# tenant_id and event_ids: those of its events that have a price, oldest first.
usage_published = Signal()
