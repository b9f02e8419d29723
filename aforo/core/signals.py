"""What the core tells the apps above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent after commit, with tenant_id and key_ids: service keys were issued or changed.
service_keys_changed = Signal()
# Sent BEFORE commit, with tenant_id, key_id and digest: a service key is refused
# from now on, and the edge must know before the record does.
service_key_revoking = Signal()
# Sent after commit, with happening: the row that was told (aforo.core.happenings).
happened = Signal()
