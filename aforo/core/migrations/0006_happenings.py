"""What happened, for alerts and webhooks."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """The table and its guards."""

    dependencies = [
        ("core", "0005_settled_apart"),
    ]

    operations = [
        migrations.CreateModel(
            name="Happening",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=aforo.lib.ids.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=aforo.lib.clock.now, editable=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("quota", "Quota used"),
                            ("wallet", "Wallet low"),
                            ("commitment", "Commitment used"),
                            ("margin", "Margin level"),
                            ("cap", "Spend cap"),
                            ("agent", "Agent paused"),
                            ("velocity", "Velocity"),
                            ("session", "Session projection"),
                            ("clock", "Clock skew"),
                            ("guard", "Guard degraded"),
                            ("webhook", "Webhook endpoint"),
                            ("invoicing", "Invoice failed"),
                            ("tier.changed", "Tier changed"),
                            ("invoice.issued", "Invoice issued"),
                            ("cost.risen", "Cost price rise"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[
                            ("ok", "OK"),
                            ("warn", "Warn"),
                            ("throttle", "Throttle"),
                            ("block", "Block"),
                        ],
                        max_length=8,
                    ),
                ),
                ("scope", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=120)),
                ("customer_id", models.UUIDField(null=True)),
                ("text", models.CharField(max_length=300)),
                ("figures", models.JSONField(default=dict)),
                ("url", models.CharField(blank=True, max_length=300)),
                ("resolved_at", models.DateTimeField(null=True)),
                ("handled_at", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="core.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="core_happening_feed"),
                    models.Index(
                        condition=models.Q(
                            ("resolved_at__isnull", True),
                            models.Q(("severity", "ok"), _negated=True),
                        ),
                        fields=["tenant", "kind", "scope"],
                        name="core_happening_open",
                    ),
                    models.Index(
                        condition=models.Q(("handled_at__isnull", True)),
                        fields=["id"],
                        name="core_happening_waiting",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "kind", "scope", "key", "severity"),
                        name="core_happening_once",
                    )
                ],
            },
        ),
        protect("core", only=["happening"]),
    ]
