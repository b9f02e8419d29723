"""What the guard tells the apps above it and its own alerts, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that writes it, with change: a MarginChange.
margin_changed = Signal()
# Sent after commit, with tenant_id and decision_ids (maybe none): doors' reports of
# a tenant are stored.
decisions_stored = Signal()
# Sent after commit, with tenant_id: somebody released, slowed, snoozed or switched.
control_changed = Signal()
