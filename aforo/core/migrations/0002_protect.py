"""Roles, row-level security, and the look-ups that cross tenants by a secret."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import ROLES_SQL, protect

# Each answers one question about a secret's digest and shows nothing else; they run
# as the owner because the caller's tenant is what they find out.
LOOKUPS_SQL = """
CREATE FUNCTION aforo_find_service_key(wanted text)
RETURNS TABLE (id uuid, tenant_id uuid, tag text, scopes text[],
               expires_at timestamptz, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT k.id, k.tenant_id, t.tag, k.scopes::text[], k.expires_at, k.revoked_at
  FROM core_servicekey k JOIN core_tenant t ON t.id = k.tenant_id
  WHERE k.digest = wanted
$$;
CREATE FUNCTION aforo_find_invitation(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT tenant_id FROM core_invitation WHERE token_digest = wanted
$$;
CREATE FUNCTION aforo_has_tenant() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT EXISTS (SELECT FROM core_tenant)
$$;
"""

TENANT_SQL = """
ALTER TABLE core_tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON core_tenant TO aforo_web
  USING (id = aforo_tenant() OR id IN
         (SELECT m.tenant_id FROM core_membership m WHERE m.user_id = aforo_user()))
  WITH CHECK (id = aforo_tenant());
CREATE POLICY all_rows ON core_tenant TO aforo_worker, CURRENT_USER
  USING (true) WITH CHECK (true);
"""


class Migration(migrations.Migration):
    """After Django's own tables, so that the roles get grants on them."""

    dependencies = [
        ("core", "0001_tables"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(ROLES_SQL, migrations.RunSQL.noop),
        protect(
            "core",
            append_only=["auditentry"],
            leaf=["outboxmessage", "idempotencykey", "auditentry", "notification"],
            visible={
                "membership": "tenant_id = (SELECT aforo_tenant())"
                " OR user_id = (SELECT aforo_user())"
            },
        ),
        migrations.RunSQL(TENANT_SQL, migrations.RunSQL.noop),
        migrations.RunSQL(LOOKUPS_SQL, migrations.RunSQL.noop),
    ]
