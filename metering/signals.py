"""What metering tells the pages above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent by the relay after a batch is published, with tenant_id and items: a list of
# {"id", "customer_id", "event_type", "amount", "currency", "cost", "at", …}.
usage_published = Signal()
