"""What metering tells the pages above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent by the relay after a version is published, with tenant_id and event_ids: those of
# its events that have a price.
usage_published = Signal()
