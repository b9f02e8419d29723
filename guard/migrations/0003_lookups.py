"""Look-ups across tenants that doors need: whose customers, and what changed."""

from __future__ import annotations

from django.db import migrations

# They run as the owner, because a door learns the tenant only from their answer, and
# they show ids and version numbers alone.
LOOKUPS_SQL = """
CREATE FUNCTION aforo_tenants_of(wanted uuid[])
RETURNS TABLE (customer_id uuid, tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.id, c.tenant_id FROM billing_customer c WHERE c.id = ANY(wanted)
$$;
CREATE FUNCTION aforo_config_changes(since timestamptz)
RETURNS TABLE (customer_id uuid, config_version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT b.customer_id, b.config_version FROM billing_customerbooks b
  WHERE b.changed_at >= since
$$;
"""
DROP_SQL = """
DROP FUNCTION aforo_tenants_of(uuid[]);
DROP FUNCTION aforo_config_changes(timestamptz);
"""


class Migration(migrations.Migration):
    """After billing's tables."""

    dependencies = [("guard", "0002_protect"), ("billing", "0002_protect")]

    operations = [migrations.RunSQL(LOOKUPS_SQL, DROP_SQL)]
