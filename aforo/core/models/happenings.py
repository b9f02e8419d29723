"""What happened that somebody may want to be told of: the source of alerts."""

from __future__ import annotations

from typing import Final

from django.db import models

from aforo.lib.models import TenantModel


class Kind(models.TextChoices):
    """What a happening is about. Names with a dot are news: they have no recovery."""

    QUOTA = "quota", "Quota used"
    WALLET = "wallet", "Wallet low"
    COMMITMENT = "commitment", "Commitment used"
    MARGIN = "margin", "Margin level"
    CAP = "cap", "Spend cap"
    AGENT = "agent", "Agent paused"
    VELOCITY = "velocity", "Velocity"
    SESSION = "session", "Session projection"
    CLOCK = "clock", "Clock skew"
    GUARD = "guard", "Guard degraded"
    WEBHOOK = "webhook", "Webhook endpoint"
    INVOICING = "invoicing", "Invoice failed"
    TIER_CHANGED = "tier.changed", "Tier changed"
    INVOICE_ISSUED = "invoice.issued", "Invoice issued"
    COST_RISEN = "cost.risen", "Cost price rise"


class Severity(models.TextChoices):
    """How much it restricts; OK is a recovery, or news that asks for nothing."""

    OK = "ok", "OK"
    WARN = "warn", "Warn"
    THROTTLE = "throttle", "Throttle"
    BLOCK = "block", "Block"


# From the mildest to the worst.
SEVERITIES: Final = (Severity.OK, Severity.WARN, Severity.THROTTLE, Severity.BLOCK)
# Types that are called otherwise than kind.severity.
_NAMED: Final = {
    (Kind.AGENT, Severity.BLOCK): "agent.paused",
    (Kind.AGENT, Severity.OK): "agent.resumed",
    (Kind.GUARD, Severity.WARN): "guard.degraded",
    (Kind.GUARD, Severity.OK): "guard.recovered",
    (Kind.CLOCK, Severity.WARN): "clock.skewed",
    (Kind.SESSION, Severity.WARN): "session.projected",
    (Kind.WEBHOOK, Severity.BLOCK): "webhook.disabled",
    (Kind.WEBHOOK, Severity.OK): "webhook.enabled",
    (Kind.INVOICING, Severity.BLOCK): "invoice.failed",
    (Kind.INVOICING, Severity.OK): "invoice.recovered",
}


def is_news(kind: str) -> bool:
    """Tell whether a kind only ever tells news, so that nothing stays open."""
    return "." in kind


def type_of(kind: str, severity: str) -> str:
    """Return the name that webhooks know a happening by, such as margin.warn."""
    if is_news(kind):
        return str(kind)
    return _NAMED.get((Kind(kind), Severity(severity)), f"{kind}.{severity}")


def types() -> list[str]:
    """Return every type that webhooks may carry, in the order of the kinds."""
    return list(
        dict.fromkeys(type_of(k, s) for k in Kind for s in (*SEVERITIES[1:], "ok"))
    )


class Happening(TenantModel):
    """One thing that happened, told once: the row behind alerts and webhooks.

    At most one for a kind, scope, key and severity; the key names the window and the
    line that was crossed. What is not OK stays open until an OK of its scope.
    """

    public_prefix = "hap"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    # Whom or what it is about: public ids, such as sub_…/input_tokens.
    scope = models.CharField(max_length=200)
    key = models.CharField(max_length=120)
    # Whose traffic or money it is; null: the tenant's own.
    customer_id = models.UUIDField(null=True)
    text = models.CharField(max_length=300)
    figures = models.JSONField(default=dict)
    url = models.CharField(max_length=300, blank=True)  # Of the page that shows it.
    resolved_at = models.DateTimeField(null=True)
    # When alerts and webhooks were made of it.
    handled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "kind", "scope", "key", "severity"],
                name="core_happening_once",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="core_happening_feed"),
            # Serves recoveries, and the look for what may have recovered.
            models.Index(
                fields=["tenant", "kind", "scope"],
                condition=models.Q(resolved_at__isnull=True) & ~models.Q(severity="ok"),
                name="core_happening_open",
            ),
            models.Index(
                fields=["id"],
                condition=models.Q(handled_at__isnull=True),
                name="core_happening_waiting",
            ),
        ]

    def __str__(self) -> str:
        return self.text

    @property
    def type(self) -> str:
        """The name that webhooks know it by."""
        return type_of(self.kind, self.severity)
