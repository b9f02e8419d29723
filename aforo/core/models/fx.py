"""Rates of exchange, for figures across currencies (never for the books)."""

from __future__ import annotations

from django.db import models

from aforo.lib.models import MoneyField, TenantModel


class FxRate(TenantModel):
    """One unit of `base` is `rate` units of `quote` from `valid_from` on."""

    base = models.CharField(max_length=3)
    quote = models.CharField(max_length=3)
    rate = MoneyField()
    valid_from = models.DateTimeField()

    class Meta:
        ordering = ["base", "quote", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "base", "quote", "valid_from"], name="core_fx_once"
            ),
            models.CheckConstraint(
                condition=models.Q(rate__gt=0), name="core_fx_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"1 {self.base} = {self.rate.normalize():f} {self.quote}"
