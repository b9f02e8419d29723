"""The library's cost rates are everybody's to read and nobody's to change."""

from __future__ import annotations

from django.db import migrations

# A policy for all commands lets DELETE and UPDATE reach whatever it shows; so what
# is shown beyond the tenant's own rows has a policy of its own, for SELECT alone.
POLICIES_SQL = """
ALTER POLICY tenant_rows ON catalog_costrate
  USING (tenant_id = (SELECT aforo_tenant()));
CREATE POLICY library_rows ON catalog_costrate FOR SELECT TO aforo_web
  USING (tenant_id IS NULL);
"""


class Migration(migrations.Migration):
    """Rates without a tenant are kept by the worker role."""

    dependencies = [("catalog", "0002_protect")]

    operations = [migrations.RunSQL(POLICIES_SQL, migrations.RunSQL.noop)]
