"""What the guard tells the apps above it and its own alerts, without knowing them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that writes it, with change: a MarginChange.
margin_changed = Signal()
