"""Whether anybody may read a product's price list."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Off for every product there is."""

    dependencies = [("catalog", "0003_library_is_read_only")]

    operations = [
        migrations.AddField(
            "product",
            "public_prices",
            models.BooleanField("price list is public", default=False),
        )
    ]
