"""What single sessions and correlations used."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """A table of its own, guarded as the others."""

    dependencies = [
        ("billing", "0002_protect"),
        ("core", "0003_memberships_elsewhere"),
    ]

    operations = [
        migrations.CreateModel(
            name="GroupTotal",
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
                ("charge_key", models.CharField(max_length=80)),
                ("group_id", models.UUIDField()),
                ("state", models.JSONField()),
                ("settled_at", models.DateTimeField(null=True)),
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
                    "total",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="groups",
                        to="billing.usagetotal",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("settled_at__isnull", True)),
                        fields=["group_id"],
                        name="billing_group_unsettled",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("total", "group_id", "charge_key"),
                        name="billing_group_total_once",
                    )
                ],
            },
        ),
        # Groups link to their counter row.
        migrations.RunSQL(
            "ALTER TABLE billing_usagetotal ADD CONSTRAINT"
            " billing_usagetotal_tenant_id_key UNIQUE (tenant_id, id)",
            migrations.RunSQL.noop,
        ),
        protect("billing", leaf=["grouptotal"], only=["grouptotal"]),
    ]
