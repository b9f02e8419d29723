"""Runs over recorded costs, and deltas that are found fast."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Recosting and what-if as jobs."""

    dependencies = [
        ("billing", "0004_spend_level"),
        ("core", "0003_memberships_elsewhere"),
        ("metering", "0007_protect_event_voids"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CostRun",
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
                            ("recost", "Correction of costs"),
                            ("what_if", "What if"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("params", models.JSONField(default=dict)),
                ("customer_count", models.PositiveIntegerField()),
                ("done_count", models.PositiveIntegerField(default=0)),
                ("requested_label", models.CharField(max_length=200)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("run", models.UUIDField(null=True)),
                ("result", models.JSONField(null=True)),
                ("failure", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="CostRunRow",
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
                ("figures", models.JSONField(null=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AlterField(
            model_name="costfact",
            name="kind",
            field=models.CharField(
                choices=[
                    ("original", "At event time"),
                    ("delta", "Found when rated again"),
                    ("recost", "Corrected rate"),
                ],
                default="original",
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="costfact",
            index=models.Index(
                condition=models.Q(("kind", "delta")),
                fields=["event"],
                name="metering_cost_deltas",
            ),
        ),
        migrations.AddField(
            model_name="costrun",
            name="requested_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="costrun",
            name="tenant",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="core.tenant",
            ),
        ),
        migrations.AddField(
            model_name="costrunrow",
            name="cost_run",
            field=aforo.lib.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="rows",
                to="metering.costrun",
            ),
        ),
        migrations.AddField(
            model_name="costrunrow",
            name="customer",
            field=aforo.lib.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.customer",
            ),
        ),
        migrations.AddField(
            model_name="costrunrow",
            name="tenant",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="core.tenant",
            ),
        ),
        migrations.AddIndex(
            model_name="costrun",
            index=models.Index(
                fields=["tenant", "kind", "-id"], name="metering_crn_newest"
            ),
        ),
        migrations.AddIndex(
            model_name="costrun",
            index=models.Index(
                condition=models.Q(("state__in", ["queued", "running"])),
                fields=["id"],
                name="metering_crn_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="costrunrow",
            constraint=models.UniqueConstraint(
                fields=("cost_run", "customer"), name="metering_crn_row_once"
            ),
        ),
        protect("metering", only=["costrun", "costrunrow"], leaf=["costrunrow"]),
    ]
