"""Row-level security of decisions."""

from __future__ import annotations

from django.db import migrations

from aforo.core.protect import protect


class Migration(migrations.Migration):
    """Guards of the guard's own records."""

    dependencies = [("guard", "0001_tables"), ("billing", "0002_protect")]

    operations = [protect("guard", leaf=["decision", "doorcount"])]
