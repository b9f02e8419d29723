"""What people decide in the control room, and what its counts need."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Overrides, observe-only, and counts of warnings and durations."""

    dependencies = [
        ("billing", "0008_packed_steps"),
        ("core", "0005_settled_apart"),
        ("guard", "0007_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="decision",
            name="observed",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="decision",
            name="warned",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="doorcount",
            name="latency",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="doorcount",
            name="observed",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="doorcount",
            name="warned",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.CreateModel(
            name="ObserveOnly",
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
                ("reason", models.CharField(blank=True, max_length=300)),
                ("actor_label", models.CharField(max_length=200)),
                ("ends_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
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
                    models.Index(
                        fields=["tenant", "ends_at"], name="guard_observe_tenant"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Override",
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
                            ("release", "Released"),
                            ("once", "Allowed once"),
                            ("throttle", "Throttled"),
                            ("snooze", "Snoozed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("actor_label", models.CharField(max_length=200)),
                ("ends_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "agent",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.agent",
                    ),
                ),
                (
                    "customer",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
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
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        fields=["tenant", "ends_at"], name="guard_override_tenant"
                    ),
                    models.Index(
                        fields=["customer", "ends_at"], name="guard_override_edge"
                    ),
                    models.Index(fields=["agent"], name="guard_override_agent"),
                ],
            },
        ),
        protect(
            "guard",
            leaf=["override", "observeonly"],
            only=["override", "observeonly"],
        ),
    ]
