"""Row-level security, and published plan versions that never change."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect

VERSIONS_SQL = """
CREATE FUNCTION aforo_keep_plan_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'draft' THEN
    RETURN COALESCE(NEW, OLD);
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.state IN ('published', 'retired')
     AND NEW.body = OLD.body AND NEW.limits = OLD.limits
     AND NEW.prorate = OLD.prorate AND NEW.number = OLD.number
     AND NEW.plan_id = OLD.plan_id
     AND NEW.currency = OLD.currency AND NEW.tenant_id = OLD.tenant_id
     AND NEW.published_at IS NOT DISTINCT FROM OLD.published_at THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'a published plan version never changes'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER published_versions BEFORE UPDATE OR DELETE ON catalog_planversion
  FOR EACH ROW EXECUTE FUNCTION aforo_keep_plan_version();
CREATE TRIGGER published_versions_table BEFORE TRUNCATE ON catalog_planversion
  FOR EACH STATEMENT EXECUTE FUNCTION aforo_refuse_change();
"""


class Migration(migrations.Migration):
    """Guards of the catalog."""

    dependencies = [("catalog", "0001_tables"), ("core", "0002_protect")]

    operations = [
        protect(
            "catalog",
            leaf=["costrate"],
            visible={
                "costrate": "tenant_id IS NULL OR tenant_id = (SELECT aforo_tenant())"
            },
        ),
        migrations.RunSQL(VERSIONS_SQL, migrations.RunSQL.noop),
    ]
