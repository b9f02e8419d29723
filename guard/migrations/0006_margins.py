"""Margin levels, and every change of them."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.ids
import aforo.lib.models
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """A table of what is, and one of what was."""

    dependencies = [
        ("core", "0005_settled_apart"),
        ("guard", "0004_alerts"),
    ]

    operations = [
        migrations.CreateModel(
            name="MarginChange",
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
                ("customer_id", models.UUIDField(null=True)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("subscription", "Subscription"),
                            ("customer", "Customer"),
                            ("agent", "Agent"),
                            ("product", "Product"),
                        ],
                        max_length=12,
                    ),
                ),
                ("subject_id", models.UUIDField()),
                ("period_id", models.UUIDField(null=True)),
                (
                    "level",
                    models.CharField(
                        choices=[
                            ("ok", "OK"),
                            ("unknown", "Unknown"),
                            ("warn", "Warn"),
                            ("throttle", "Throttle"),
                            ("block", "Block"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "revenue",
                    aforo.lib.models.MoneyField(decimal_places=12, max_digits=38),
                ),
                ("cogs", aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                (
                    "margin",
                    models.DecimalField(decimal_places=4, max_digits=12, null=True),
                ),
                ("currency", models.CharField(max_length=3)),
                ("cost_unknown_count", models.BigIntegerField(default=0)),
                ("version", models.BigIntegerField(default=0)),
                (
                    "before",
                    models.CharField(
                        choices=[
                            ("ok", "OK"),
                            ("unknown", "Unknown"),
                            ("warn", "Warn"),
                            ("throttle", "Throttle"),
                            ("block", "Block"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("usage", "Usage or cost"),
                            ("release", "Released by hand"),
                        ],
                        default="usage",
                        max_length=8,
                    ),
                ),
                ("event_id", models.UUIDField(null=True)),
                ("actor_label", models.CharField(blank=True, max_length=200)),
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
                    models.Index(fields=["tenant", "-id"], name="guard_margin_changes"),
                    models.Index(
                        fields=["customer_id", "-id"], name="guard_margin_of_customer"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MarginLevel",
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
                ("customer_id", models.UUIDField(null=True)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("subscription", "Subscription"),
                            ("customer", "Customer"),
                            ("agent", "Agent"),
                            ("product", "Product"),
                        ],
                        max_length=12,
                    ),
                ),
                ("subject_id", models.UUIDField()),
                ("period_id", models.UUIDField(null=True)),
                (
                    "level",
                    models.CharField(
                        choices=[
                            ("ok", "OK"),
                            ("unknown", "Unknown"),
                            ("warn", "Warn"),
                            ("throttle", "Throttle"),
                            ("block", "Block"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "revenue",
                    aforo.lib.models.MoneyField(decimal_places=12, max_digits=38),
                ),
                ("cogs", aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                (
                    "margin",
                    models.DecimalField(decimal_places=4, max_digits=12, null=True),
                ),
                ("currency", models.CharField(max_length=3)),
                ("cost_unknown_count", models.BigIntegerField(default=0)),
                ("version", models.BigIntegerField(default=0)),
                ("changed_at", models.DateTimeField()),
                ("released_until", models.DateTimeField(null=True)),
                ("released_by", models.CharField(blank=True, max_length=200)),
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
                "indexes": [
                    models.Index(fields=["customer_id"], name="guard_margin_customer")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "customer_id", "scope", "subject_id"),
                        name="guard_margin_level_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        protect(
            "guard",
            append_only=["marginchange"],
            leaf=["marginchange", "marginlevel"],
            only=["marginchange", "marginlevel"],
        ),
    ]
