"""What customers, teams and agents were before: earlier usage is priced by it."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect
from aforo.core.stamps import scope_sql, stamped_sql


class Migration(migrations.Migration):
    """A table of its own, append-only and stamped for what rating remembers."""

    dependencies = [
        ("billing", "0005_stamps"),
        ("core", "0004_stamps_of_change"),
    ]

    operations = [
        migrations.CreateModel(
            name="FormerFacets",
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
                            ("customer", "Customer"),
                            ("team", "Team"),
                            ("agent", "Agent"),
                        ],
                        max_length=8,
                    ),
                ),
                ("subject_id", models.UUIDField()),
                ("valid_from", models.DateTimeField(null=True)),
                ("valid_to", models.DateTimeField()),
                ("segment", models.CharField(blank=True, max_length=60)),
                ("tier", models.CharField(blank=True, max_length=40)),
                (
                    "agent_type",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("CLAUDE", "Claude"),
                            ("GPT", "GPT"),
                            ("LANGCHAIN", "LangChain"),
                            ("CREWAI", "CrewAI"),
                            ("AUTOGEN", "AutoGen"),
                            ("CUSTOM", "Custom"),
                        ],
                        max_length=10,
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
                    "team",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.team",
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
                "verbose_name_plural": "former facets",
                "ordering": ["-valid_to"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subject_id", "valid_to"), name="billing_former_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_from__isnull", True),
                            ("valid_to__gt", models.F("valid_from")),
                            _connector="OR",
                        ),
                        name="billing_former_order",
                    ),
                ],
            },
        ),
        protect(
            "billing",
            append_only=["formerfacets"],
            leaf=["formerfacets"],
            only=["formerfacets"],
        ),
        migrations.RunSQL(
            stamped_sql(
                "billing_formerfacets", scope_sql("customer_id"), events=("INSERT",)
            ),
            migrations.RunSQL.noop,
        ),
    ]
