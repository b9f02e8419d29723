"""What agents used of contracts, and the moves between spend levels."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
from aforo.core.protect import protect

# Usage that is in the ledger already, as billing.agent_totals counts it.
CHARGES = """
INSERT INTO billing_agenttotal (id, created_at, tenant_id, customer_id, period_id,
  subscription_id, agent_id, currency, charges, cost, cost_unknown_count)
SELECT gen_random_uuid(), now(), tenant_id, customer_id, usage_period_id,
  subscription_id, agent_id, currency,
  jsonb_object_agg(charge_key, jsonb_build_array(quantity::text, amount::text)), 0, 0
FROM (
  SELECT e.tenant_id, e.customer_id, e.usage_period_id, e.subscription_id, e.agent_id,
    e.currency, k.charge_key, sum(k.quantity) AS quantity, sum(k.amount) AS amount
  FROM billing_ledgerentry e
  CROSS JOIN LATERAL unnest(e.charge_keys, e.quantities, e.amounts)
    AS k (charge_key, quantity, amount)
  WHERE e.kind NOT IN ('recurring', 'rounding') AND k.charge_key NOT LIKE 'plan:%'
  GROUP BY 1, 2, 3, 4, 5, 6, 7) AS sums
GROUP BY tenant_id, customer_id, usage_period_id, subscription_id, agent_id,
  currency
"""


class Migration(migrations.Migration):
    """Counters that hold what is in the ledger, and a history that begins now."""

    dependencies = [
        ("billing", "0008_packed_steps"),
        ("core", "0005_settled_apart"),
    ]

    operations = [
        migrations.CreateModel(
            name="AgentTotal",
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
                ("currency", models.CharField(max_length=3)),
                ("charges", models.JSONField(default=dict)),
                (
                    "cost",
                    aforo.lib.models.MoneyField(
                        decimal_places=12, default=0, max_digits=38
                    ),
                ),
                ("cost_unknown_count", models.BigIntegerField(default=0)),
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
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.customer",
                    ),
                ),
                (
                    "period",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.billingperiod",
                    ),
                ),
                (
                    "subscription",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.subscription",
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "customer",
                            "period",
                            "subscription",
                            "agent",
                            "currency",
                        ),
                        name="billing_agent_total_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LevelChange",
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
                ("number", models.PositiveIntegerField()),
                ("before", models.CharField(max_length=64)),
                ("after", models.CharField(max_length=64)),
                ("before_name", models.CharField(max_length=80)),
                ("after_name", models.CharField(max_length=80)),
                (
                    "limits_multiplier",
                    models.DecimalField(decimal_places=3, max_digits=9),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("spend", "Spend of the period"),
                            ("credits", "Credits bought"),
                            ("hand", "By hand or by contract"),
                            ("period", "A new period"),
                        ],
                        max_length=8,
                    ),
                ),
                ("event_id", models.UUIDField(null=True)),
                ("grant_id", models.UUIDField(null=True)),
                (
                    "spend",
                    aforo.lib.models.MoneyField(decimal_places=12, max_digits=38),
                ),
                (
                    "credits",
                    aforo.lib.models.MoneyField(decimal_places=12, max_digits=38),
                ),
                ("currency", models.CharField(max_length=3)),
                ("version", models.BigIntegerField()),
                (
                    "customer",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.customer",
                    ),
                ),
                (
                    "period",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.billingperiod",
                    ),
                ),
                (
                    "subscription",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="level_changes",
                        to="billing.subscription",
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
                    models.Index(fields=["tenant", "-id"], name="billing_level_moves")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subscription", "number"),
                        name="billing_level_change_once",
                    )
                ],
            },
        ),
        protect(
            "billing",
            append_only=["levelchange"],
            leaf=["agenttotal", "levelchange"],
            only=["agenttotal", "levelchange"],
        ),
        migrations.RunSQL(CHARGES, migrations.RunSQL.noop),
    ]
