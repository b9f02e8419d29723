"""Everything that decides what a call costs, and what the price list changed."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.ids
from aforo.core.protect import protect

# Rates of all tenants are checked by one version: cached ones are read again after any
# change. The function acts as its owner, so that the web role cannot write the row.
VERSION_SQL = """
CREATE FUNCTION aforo_cost_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO catalog_costversion (id, version) VALUES (1, gen_random_uuid())
  ON CONFLICT (id) DO UPDATE SET version = excluded.version;
  RETURN NULL;
END $$;
CREATE TRIGGER cost_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
  ON catalog_costrate FOR EACH STATEMENT EXECUTE FUNCTION aforo_cost_version();
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON catalog_costversion
  FROM aforo_web, aforo_worker;
INSERT INTO catalog_costversion (id, version) VALUES (1, gen_random_uuid());
"""
# What the price list changed is everybody's to read and nobody's to change.
CHANGES_SQL = """
CREATE POLICY library_rows ON catalog_costchange FOR SELECT TO aforo_web
  USING (tenant_id IS NULL);
"""


class Migration(migrations.Migration):
    """Dimensions of cost rates, their version, and changes of the price list."""

    dependencies = [
        ("catalog", "0009_stamps"),
        ("core", "0003_memberships_elsewhere"),
    ]

    operations = [
        migrations.CreateModel(
            name="CostChange",
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
                    "state",
                    models.CharField(
                        choices=[
                            ("applied", "Applied"),
                            ("pending", "Waits for approval"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("flagged", "Fault of the price list"),
                        ],
                        max_length=10,
                    ),
                ),
                ("provider", models.CharField(max_length=60)),
                ("model", models.CharField(max_length=120)),
                ("key", models.JSONField(default=dict)),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                (
                    "ratio",
                    models.DecimalField(decimal_places=4, max_digits=12, null=True),
                ),
                ("note", models.CharField(blank=True, max_length=300)),
                ("library_version", models.CharField(max_length=40)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decided_by", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="CostVersion",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(primary_key=True, serialize=False),
                ),
                ("version", models.UUIDField()),
            ],
        ),
        migrations.AddField(
            model_name="costrate",
            name="above_tokens",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="costrate",
            name="context",
            field=models.CharField(blank=True, max_length=40),
        ),
        migrations.AddField(
            model_name="costrate",
            name="hours",
            field=models.CharField(blank=True, max_length=40),
        ),
        migrations.AddField(
            model_name="costrate",
            name="per",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="costrate",
            name="region",
            field=models.CharField(blank=True, max_length=40),
        ),
        migrations.AddConstraint(
            model_name="costrate",
            constraint=models.CheckConstraint(
                condition=models.Q(("per__gt", 0)), name="catalog_cost_per_positive"
            ),
        ),
        migrations.AddField(
            model_name="costchange",
            name="tenant",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="core.tenant",
            ),
        ),
        migrations.AddIndex(
            model_name="costchange",
            index=models.Index(fields=["state", "-id"], name="catalog_cch_state"),
        ),
        migrations.RunSQL(VERSION_SQL, migrations.RunSQL.noop),
        protect("catalog", only=["costchange"], leaf=["costchange"]),
        migrations.RunSQL(CHANGES_SQL, migrations.RunSQL.noop),
    ]
