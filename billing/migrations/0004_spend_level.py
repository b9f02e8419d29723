"""The spend level that a ledger entry was rated at."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Null for every entry there is: no plan had levels. Nothing is rewritten."""

    dependencies = [("billing", "0003_group_tables")]

    operations = [
        migrations.AddField(
            "ledgerentry", "spend_level", models.CharField(max_length=64, null=True)
        )
    ]
