"""What rating remembers of a tenant's catalog is stamped when it changes."""

from __future__ import annotations

from django.db import migrations

from aforo.core.stamps import scope_sql, stamped_sql

TABLES = ("catalog_metric", "catalog_tool", "catalog_toolname", "catalog_costrate")


class Migration(migrations.Migration):
    """By tenant; the library's cost rates by the whole installation."""

    dependencies = [
        ("catalog", "0008_usage_scenarios"),
        ("core", "0004_stamps_of_change"),
    ]

    # One operation: Django copies its picture of all models for each.
    operations = [
        migrations.RunSQL(
            [
                statement
                for table in TABLES
                for statement in stamped_sql(table, scope_sql("tenant_id"))
            ],
            migrations.RunSQL.noop,
        )
    ]
