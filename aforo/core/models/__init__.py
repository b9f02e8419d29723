"""Tenants, their people and keys, and what every app needs beneath it."""

from __future__ import annotations

from aforo.core.models.audit import AuditEntry, Notification
from aforo.core.models.fx import FxRate
from aforo.core.models.happenings import Happening
from aforo.core.models.jobs import IdempotencyKey, JobSlot, OutboxMessage
from aforo.core.models.people import Invitation, Membership, Role, User
from aforo.core.models.tenants import ServiceKey, Tenant

__all__ = [
    "AuditEntry",
    "FxRate",
    "Happening",
    "IdempotencyKey",
    "Invitation",
    "JobSlot",
    "Membership",
    "Notification",
    "OutboxMessage",
    "Role",
    "ServiceKey",
    "Tenant",
    "User",
]
