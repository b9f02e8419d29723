"""A person sees the memberships in other tenants, and changes none from here."""

from __future__ import annotations

from django.db import migrations

POLICIES_SQL = """
ALTER POLICY tenant_rows ON core_membership
  USING (tenant_id = (SELECT aforo_tenant()));
CREATE POLICY own_memberships ON core_membership FOR SELECT TO aforo_web
  USING (user_id = (SELECT aforo_user()));
ALTER POLICY tenant_rows ON core_tenant USING (id = aforo_tenant());
CREATE POLICY own_tenants ON core_tenant FOR SELECT TO aforo_web
  USING (id IN
         (SELECT m.tenant_id FROM core_membership m WHERE m.user_id = aforo_user()));
"""


class Migration(migrations.Migration):
    """What is shown across tenants is for SELECT alone."""

    dependencies = [("core", "0002_protect")]

    operations = [migrations.RunSQL(POLICIES_SQL, migrations.RunSQL.noop)]
