"""Names of tools over time, and tools that keep their first one."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
from aforo.core.protect import protect

# An alias that two tools of a product had leads to the one that was made first.
COPY_SQL = """
INSERT INTO catalog_toolname (id, created_at, tenant_id, tool_id, product_id, name,
  kind, version)
SELECT DISTINCT ON (t.product_id, a.name) gen_random_uuid(), t.created_at, t.tenant_id,
  t.id, t.product_id, a.name, 'alias', ''
FROM catalog_tool t, unnest(t.aliases) AS a (name)
WHERE NOT EXISTS (SELECT FROM catalog_tool other
  WHERE other.product_id = t.product_id AND other.name = a.name)
ORDER BY t.product_id, a.name, t.id;
SET CONSTRAINTS ALL IMMEDIATE;
"""
KEEP_SQL = """
CREATE FUNCTION aforo_keep_tool_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.valid_to IS NULL AND NEW.valid_to IS NOT NULL THEN
    OLD.valid_to := NEW.valid_to;
    IF NEW = OLD THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'names of tools are ended, never changed or deleted'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER kept_names BEFORE UPDATE OR DELETE ON catalog_toolname
  FOR EACH ROW EXECUTE FUNCTION aforo_keep_tool_name();
CREATE TRIGGER kept_names_table BEFORE TRUNCATE ON catalog_toolname
  FOR EACH STATEMENT EXECUTE FUNCTION aforo_refuse_change();

CREATE FUNCTION aforo_keep_tool() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.id = OLD.id AND NEW.name = OLD.name
     AND NEW.product_id = OLD.product_id AND NEW.tenant_id = OLD.tenant_id THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a tool keeps the name it was registered under'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER kept_tools BEFORE UPDATE OR DELETE ON catalog_tool
  FOR EACH ROW EXECUTE FUNCTION aforo_keep_tool();
"""


class Migration(migrations.Migration):
    """Aliases become rows with a time of their own."""

    dependencies = [("catalog", "0005_public_price_list")]

    operations = [
        migrations.CreateModel(
            name="ToolName",
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
                ("name", models.CharField(max_length=120)),
                (
                    "kind",
                    models.CharField(
                        choices=[("alias", "Also called"), ("rename", "Renamed to")],
                        max_length=6,
                    ),
                ),
                (
                    "version",
                    models.CharField(
                        blank=True,
                        help_text="The tool's version under this name.",
                        max_length=40,
                    ),
                ),
                ("valid_from", models.DateTimeField(blank=True, null=True)),
                ("valid_to", models.DateTimeField(blank=True, null=True)),
                (
                    "product",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalog.product",
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
                    "tool",
                    aforo.lib.fields.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="names",
                        to="catalog.tool",
                    ),
                ),
            ],
            options={
                "ordering": ["tool", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["product", "name", "valid_from"],
                        name="catalog_toolname_from",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_to__gt", models.F("valid_from")),
                            ("valid_to__isnull", True),
                            ("valid_from__isnull", True),
                            _connector="OR",
                        ),
                        name="catalog_toolname_order",
                    ),
                ],
            },
        ),
        migrations.RunSQL(COPY_SQL, migrations.RunSQL.noop),
        migrations.RemoveField(model_name="tool", name="aliases"),
        protect("catalog", only=["toolname"], leaf=["toolname"]),
        migrations.RunSQL(KEEP_SQL, migrations.RunSQL.noop),
    ]
