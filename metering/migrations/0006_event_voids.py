"""Voids of events, and the reversal that follows."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models


class Migration(migrations.Migration):
    """The table of voids."""

    dependencies = [
        ("billing", "0004_spend_level"),
        ("core", "0003_memberships_elsewhere"),
        ("metering", "0005_usage_reasons"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventVoid",
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
                    "was",
                    models.CharField(
                        choices=[
                            ("rated", "Rated"),
                            ("unrateable", "Without price"),
                            ("pending", "Pending"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(max_length=300)),
                ("actor_label", models.CharField(max_length=200)),
                ("currency", models.CharField(max_length=3)),
                (
                    "amount",
                    aforo.lib.models.MoneyField(
                        decimal_places=12, default=0, max_digits=38
                    ),
                ),
                (
                    "customer",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.customer",
                    ),
                ),
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="void",
                        to="metering.usageevent",
                    ),
                ),
                (
                    "replaced_by",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replaces",
                        to="metering.usageevent",
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
            ],
            options={
                "ordering": ["-id"],
            },
        ),
    ]
