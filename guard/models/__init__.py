"""What the guard keeps in Postgres."""

from __future__ import annotations

from guard.models.alerts import AlertFiring, AlertRule
from guard.models.control import ObserveOnly, Override
from guard.models.decisions import Decision, DoorCount, RuleCount
from guard.models.margins import Level, MarginChange, MarginLevel, Scope
from guard.models.webhooks import Delivery, WebhookEndpoint

__all__ = [
    "AlertFiring",
    "AlertRule",
    "Decision",
    "Delivery",
    "DoorCount",
    "Level",
    "MarginChange",
    "MarginLevel",
    "ObserveOnly",
    "Override",
    "RuleCount",
    "Scope",
    "WebhookEndpoint",
]
