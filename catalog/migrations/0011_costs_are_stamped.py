"""The stamps notice changed cost rates too: their own version goes."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """Rates are stamped since 0009, by tenant and for the library as a whole."""

    dependencies = [("catalog", "0010_cost_dimensions")]

    operations = [
        migrations.RunSQL(
            [
                "DROP TRIGGER cost_version ON catalog_costrate",
                "DROP FUNCTION aforo_cost_version()",
            ],
            migrations.RunSQL.noop,
        ),
        migrations.DeleteModel("CostVersion"),
    ]
