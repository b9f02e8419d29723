"""Stamps of change, for what processes remember."""

from __future__ import annotations

from django.db import migrations

from aforo.core.stamps import TABLE_SQL, scope_sql, stamped_sql


class Migration(migrations.Migration):
    """The stamps, and the first table that has them."""

    dependencies = [("core", "0003_memberships_elsewhere")]

    operations = [
        migrations.RunSQL(TABLE_SQL, migrations.RunSQL.noop),
        migrations.RunSQL(
            stamped_sql("core_fxrate", scope_sql("tenant_id")), migrations.RunSQL.noop
        ),
    ]
