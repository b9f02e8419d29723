"""Alert rules, firings, webhook endpoints and deliveries."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """The tables and their guards."""

    dependencies = [
        ("core", "0006_happenings"),
        ("guard", "0003_lookups"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
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
                ("name", models.CharField(max_length=120)),
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
                    "threshold",
                    aforo.lib.models.MoneyField(
                        blank=True, decimal_places=12, max_digits=38, null=True
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
                        default="warn",
                        max_length=8,
                        verbose_name="from",
                    ),
                ),
                ("customer_id", models.UUIDField(blank=True, null=True)),
                (
                    "every",
                    models.CharField(
                        choices=[
                            ("crossing", "Each crossing"),
                            ("hour", "Once an hour"),
                            ("day", "Once a day (UTC)"),
                        ],
                        default="crossing",
                        max_length=8,
                    ),
                ),
                (
                    "emails",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.EmailField(max_length=254),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("to_owner", models.BooleanField(default=False)),
                ("webhook", models.BooleanField(default=False)),
                ("enabled", models.BooleanField(default=True)),
                ("snoozed_until", models.DateTimeField(blank=True, null=True)),
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
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="AlertFiring",
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
                ("scope", models.CharField(max_length=200)),
                ("window", models.CharField(max_length=200)),
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
                ("text", models.CharField(max_length=300)),
                (
                    "happening",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="firings",
                        to="core.happening",
                    ),
                ),
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
                (
                    "rule",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="firings",
                        to="guard.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
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
                ("url", models.URLField(max_length=500)),
                ("description", models.CharField(blank=True, max_length=160)),
                ("secret", models.CharField(editable=False, max_length=400)),
                (
                    "old_secret",
                    models.CharField(blank=True, editable=False, max_length=400),
                ),
                ("old_until", models.DateTimeField(editable=False, null=True)),
                (
                    "types",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("disabled_reason", models.CharField(blank=True, max_length=300)),
                ("failing_since", models.DateTimeField(editable=False, null=True)),
                ("last_success_at", models.DateTimeField(editable=False, null=True)),
                ("removed_at", models.DateTimeField(editable=False, null=True)),
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
            },
        ),
        migrations.CreateModel(
            name="Delivery",
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
                ("email", models.EmailField(blank=True, max_length=254)),
                ("type", models.CharField(max_length=32)),
                ("body", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("delivered", "Delivered"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempt_count", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                ("attempts", models.JSONField(default=list)),
                ("delivered_at", models.DateTimeField(null=True)),
                (
                    "firing",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="guard.alertfiring",
                    ),
                ),
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
                (
                    "endpoint",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="guard.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
            },
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"), name="guard_alert_rule_name"
            ),
        ),
        migrations.AddIndex(
            model_name="alertfiring",
            index=models.Index(fields=["rule", "-id"], name="guard_firing_feed"),
        ),
        migrations.AddIndex(
            model_name="alertfiring",
            index=models.Index(fields=["happening"], name="guard_firing_happening"),
        ),
        migrations.AddConstraint(
            model_name="alertfiring",
            constraint=models.UniqueConstraint(
                fields=("rule", "scope", "window"), name="guard_firing_once"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["tenant", "-id"], name="guard_delivery_feed"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                fields=["endpoint", "-id"], name="guard_delivery_endpoint"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["firing"], name="guard_delivery_firing"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("next_at__isnull", False)),
                fields=["next_at"],
                name="guard_delivery_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("endpoint__isnull", False),
                    models.Q(("email", ""), _negated=True),
                    _connector="XOR",
                ),
                name="guard_delivery_one_way",
            ),
        ),
        protect(
            "guard",
            leaf=["delivery"],
            only=["alertrule", "alertfiring", "webhookendpoint", "delivery"],
        ),
    ]
