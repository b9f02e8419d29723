"""What billing tells the apps above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent after commit, with customer_ids: money moved, the edge must hear of it.
books_changed = Signal()
# Sent after commit, with customer_ids: limits, keys or contracts changed.
config_changed = Signal()
# Sent BEFORE commit, with customer_id and any of credential_digest, agent_id,
# subscription_id, suspended, spend_cap: the edge must refuse before the record says so.
restricting = Signal()
