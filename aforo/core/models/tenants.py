"""The seller, and the keys with which its gateways call."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from aforo.lib import clock, crypto
from aforo.lib.models import BaseModel, TenantModel


class Tenant(BaseModel):
    """A seller: every other row belongs to one."""

    public_prefix = "ten"

    name = models.CharField(max_length=120)
    legal_name = models.CharField(max_length=200, blank=True)
    address = models.TextField(
        blank=True, help_text="Printed on invoices, one line each."
    )
    tax_id = models.CharField("tax number", max_length=40, blank=True)
    email = models.EmailField("billing e-mail", blank=True)
    currency = models.CharField(max_length=3, default="USD")
    timezone = models.CharField(max_length=64, default="UTC")
    tax_label = models.CharField(max_length=40, default="Tax")
    # A percentage: 21 means 21 %.
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4, default=0)
    invoice_prefix = models.CharField(max_length=12, default="INV")
    # Hash tag of the tenant's own edge state: look-ups of external ids.
    tag = models.CharField(
        max_length=12, unique=True, default=crypto.new_tag, editable=False
    )
    sandbox = models.BooleanField(default=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ServiceKey(TenantModel):
    """A key of the tenant's gateways and backend; it is never the payer."""

    public_prefix = "svk"

    SCOPES = (
        "ingest",
        "check",
        "read",
        "catalog:read",
        "catalog:write",
        "corrections",
        "backfill",
        "guard",
    )

    name = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    scopes = ArrayField(models.CharField(max_length=16), default=list)
    created_by = models.ForeignKey(
        "core.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} …{self.last_four}"

    @property
    def is_live(self) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > clock.now()
        )
