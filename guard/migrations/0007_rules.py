"""What rules in shadow would have stopped, and how often each rule stopped calls."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.ids
from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Two columns of decisions, and a table of counts."""

    dependencies = [("guard", "0006_margins"), ("core", "0001_tables")]

    operations = [
        migrations.AddField(
            "decision",
            "shadow",
            models.JSONField(default=list, db_default=[]),
        ),
        migrations.AddField("decision", "subscription_id", models.UUIDField(null=True)),
        migrations.CreateModel(
            name="RuleCount",
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
                ("hour", models.DateTimeField()),
                ("customer_id", models.UUIDField()),
                ("subscription_id", models.UUIDField()),
                ("rule", models.CharField(max_length=160)),
                ("denied", models.PositiveBigIntegerField(default=0)),
                ("throttled", models.PositiveBigIntegerField(default=0)),
                ("shadowed", models.PositiveBigIntegerField(default=0)),
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "tenant",
                            "hour",
                            "subscription_id",
                            "customer_id",
                            "rule",
                        ),
                        name="guard_rule_count_once",
                    )
                ],
            },
        ),
        protect("guard", leaf=["rulecount"], only=["rulecount"]),
    ]
