"""Whether anybody may read a product's price list."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Off for every product there is."""

    dependencies = [("catalog", "0004_draft_revision")]

    operations = [
        migrations.AddField(
            "product",
            "public_prices",
            models.BooleanField("price list is public", default=False),
        )
    ]
