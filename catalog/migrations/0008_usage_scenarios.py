"""Saved quantities for the simulator of a plan."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Scenarios belong to a plan and to its tenant alone."""

    dependencies = [("catalog", "0007_metric_window")]

    operations = [
        migrations.CreateModel(
            name="UsageScenario",
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
                ("name", models.CharField(max_length=80)),
                ("quantities", models.JSONField(blank=True, default=dict)),
                (
                    "plan",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="scenarios",
                        to="catalog.plan",
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
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["plan", "name"], name="catalog_scenario_name"
                    )
                ],
            },
        ),
        protect("catalog", only=["usagescenario"], leaf=["usagescenario"]),
    ]
