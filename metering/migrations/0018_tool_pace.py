"""How often agents call tools."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """The tables and their guards."""

    dependencies = [
        ("billing", "0008_packed_steps"),
        ("core", "0006_happenings"),
        ("metering", "0016_costs_of_agents"),
    ]

    operations = [
        migrations.CreateModel(
            name="ToolPace",
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
                ("tool_name", models.CharField(max_length=120)),
                ("hour", models.DateTimeField()),
                ("active_minutes", models.PositiveSmallIntegerField()),
                ("invocations", models.BigIntegerField()),
                ("last_minute", models.DateTimeField()),
                (
                    "agent",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.agent",
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
                "ordering": ["-hour"],
                "indexes": [
                    models.Index(fields=["hour"], name="metering_tool_pace_hour")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("agent", "tool_name", "hour"),
                        name="metering_tool_pace_once",
                    )
                ],
            },
        ),
        protect("metering", leaf=["toolpace"], only=["toolpace"]),
    ]
