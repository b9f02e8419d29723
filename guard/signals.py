"""What the guard tells the apps above it, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent after commit, with tenant_id and decision_ids (maybe none): doors' reports of
# a tenant are stored.
decisions_stored = Signal()
# Sent after commit, with tenant_id: somebody released, slowed, snoozed or switched.
control_changed = Signal()
